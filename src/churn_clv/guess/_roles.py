"""Which column plays which part in the log: by its name first, then by what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from churn_clv.guess._columns import Column

# Names in lower-case letters and digits only, the most telling first.
NAMES: dict[str, tuple[str, ...]] = {
    "customer_id": (
        "customerid", "customeruniqueid", "custid", "customerkey", "customerno", "customernumber", "custno", "clientid",
        "householdid", "householdkey", "memberid", "buyerid", "shopperid", "subscriberid", "contactid", "userid",
        "accountid", "loyaltyid", "cardid", "cardnumber", "personid", "visitorid", "customer", "client", "household",
        "member", "user", "buyer", "account", "cid", "uid", "customeremail", "email",
        "kundennummer", "kundennr", "kundenid", "kundenkennung", "kunde", "debitorennummer", "numeroclient", "idclient",
        "noclient", "codigocliente", "idcliente", "numerocliente", "cliente", "codicecliente", "klantnummer", "klantid",
    ),
    "time": (
        "transactiontimestamp", "invoicedate", "orderdate", "purchasedate", "transactiondate", "saledate", "salesdate",
        "orderpurchasetimestamp", "ordertime", "orderdatetime", "orderedat", "purchasedat", "placedat", "eventtime",
        "eventtimestamp", "eventdate", "transactiontime", "datetime", "timestamp", "createdat", "date", "time", "day",
        "processedat", "occurredat", "redemptiondate", "visitdate", "senttime", "sentat", "ts", "dt",
        "bestelldatum", "rechnungsdatum", "kaufdatum", "auftragsdatum", "belegdatum", "buchungsdatum", "datum",
        "datecommande", "dateachat", "datefacture", "fechapedido", "fechacompra", "fechafactura", "fecha", "dataordine",
        "dataacquisto", "besteldatum",
    ),
    "order_id": (
        "orderid", "invoiceno", "invoiceid", "invoicenumber", "invoice", "basketid", "transactionid", "transid",
        "receiptid", "receiptno", "orderno", "ordernumber", "ordername", "ticketid", "cartid", "salesid", "saleid",
        "checkoutid", "orderreference", "order", "receipt", "basket",
        "bestellnummer", "bestellnr", "bestellid", "auftragsnummer", "auftragsnr", "rechnungsnummer", "rechnungsnr",
        "belegnummer", "numerocommande", "nocommande", "idcommande", "numerofacture", "numeropedido", "idpedido",
        "pedido", "numeroordine", "bestelnummer",
    ),
    "product_id": (
        "productid", "stockcode", "sku", "skuid", "itemid", "articleid", "productcode", "itemcode", "upc", "ean",
        "gtin", "asin", "variantid", "productkey", "articleno", "productsku", "lineitemsku", "product", "item",
        "article",
        "artikelnummer", "artikelnr", "artikelid", "produktnummer", "produktid", "artikel", "refproduit", "codeproduit",
        "idproduit", "codigoproducto", "idproducto", "codiceprodotto", "productnummer",
    ),
    "quantity": (
        "quantity", "qty", "units", "orderquantity", "itemquantity", "lineitemquantity", "numberofcds", "unitssold",
        "pieces", "numitems", "itemcount", "numberofitems", "menge", "quantite", "cantidad",
        "anzahl", "stuck", "stuckzahl", "aantal", "quantita", "unidades",
    ),
    "unit_price": (
        "unitprice", "priceperunit", "itemprice", "unitsellingprice", "lineitemprice", "sellingprice", "productprice",
        "price",
        "einzelpreis", "stuckpreis", "preis", "prixunitaire", "prix", "preciounitario", "precio", "prezzounitario",
        "prezzo",
    ),
    "amount": (
        "amount", "salesvalue", "dollarvalue", "netamount", "netsales", "linetotal", "totalamount", "totalprice",
        "ordertotal", "orderamount", "ordervalue", "totalsales", "salesamount", "saleamount", "transactionamount",
        "purchaseamount", "invoiceamount", "amountpaid", "paidamount", "paymentvalue", "totalpaid", "grandtotal",
        "subtotal", "revenue", "sales", "total", "turnover", "spend", "extendedprice", "lineamount", "betrag",
        "montant", "importe", "value",
        "gesamtbetrag", "gesamtpreis", "rechnungsbetrag", "umsatz", "summe", "nettobetrag", "bruttobetrag",
        "montanttotal", "prixtotal", "importetotal", "preciototal", "importo", "totale", "bedrag",
    ),
    "discount": (
        "discount", "discountamount", "totaldiscount", "discountvalue", "retaildisc", "discounttotal", "linediscount",
        "rebate", "promodiscount", "coupondisc", "coupondiscount", "couponmatchdisc", "lineitemdiscount",
        "rabatt", "remise", "descuento", "sconto", "korting",
    ),
    "margin": (
        "margin", "marginamount", "linemargin", "ordermargin", "grossmargin", "profit", "lineprofit", "grossprofit",
        "contribution", "contributionmargin", "deckungsbeitrag", "rohertrag", "marge", "margebrute", "margen",
        "margine",
    ),
    "cost": (
        "cogs", "costofgoodssold", "costofgoods", "costofsales", "totalcost", "linecost", "costamount", "productcost",
        "cost", "wareneinsatz", "couttotal", "costetotal", "costototale",
    ),
    "unit_cost": (
        "unitcost", "costperunit", "itemcost", "costprice", "standardcost", "einkaufspreis", "prixachat",
        "costounitario",
    ),
    "event_type": (
        "eventtype", "event", "eventname", "transactiontype", "activitytype", "activity", "action", "ordertype",
        "recordtype", "type", "kind", "orderstatus", "status", "isreturn", "isreturned", "returned", "isrefund",
        "refunded", "returnflag",
        "vorgang", "belegart", "transaktionstyp", "auftragsart", "operation", "tipo", "typ",
    ),
    "channel": (
        "channel", "saleschannel", "orderchannel", "channelname", "purchasechannel", "platform", "sourcename",
        "ordersource", "devicetype", "device", "medium", "campaigntype",
        "kanal", "vertriebskanal", "canal", "canale",
    ),
    "category": (
        "category", "productcategory", "categoryname", "department", "departmentname", "productgroup", "producttype",
        "categoryid", "categorycode", "maincategory", "itemcategory", "productline", "aisle", "section", "subcategory",
        "warengruppe", "kategorie", "produktgruppe", "categorie", "categoria",
    ),
}  # fmt: skip
# Parts that only a whole name tells: a profit centre is no profit.
EXACT = ("margin", "cost", "unit_cost")
# Times that are no event's own.
NOT_EVENTS = ("birth", "dob", "expir", "due", "valid", "updated", "modified", "deliver", "shipped", "ends", "enddate")
# Words that say purchase or return; only these values are ever written into a config.
PURCHASE_WORDS = ("purchase", "purchased", "order", "ordered", "sale", "sold", "buy", "bought", "transaction", "debit",
                  "kauf", "bestellung", "verkauf", "achat", "vente", "commande", "compra", "venta", "acquisto",
                  "vendita")  # fmt: skip
RETURN_WORDS = ("return", "returned", "refund", "refunded", "credit", "creditnote", "reversal", "chargeback",
                "retoure", "ruckgabe", "rucksendung", "gutschrift", "erstattung", "retour", "remboursement", "avoir",
                "devolucion", "reembolso", "reso", "rimborso")  # fmt: skip
VOID_WORDS = ("cancelled", "canceled", "cancel", "cancellation", "void", "voided", "storno",
              "storniert", "annule", "annulee", "cancelado", "annullato")  # fmt: skip
RETURN_KEYS = ("return", "refund", "retour", "devol", "rembours")  # of a yes/no column that marks returns
FEW = 50
PERSONAL = (
    "name",
    "mail",
    "phone",
    "mobile",
    "address",
    "street",
    "postcode",
    "zip",
    "birth",
    "dob",
    "iban",
    "passport",
)

_FITS: dict[str, Callable[[Column], bool]] = {
    "customer_id": lambda c: c.kind in ("text", "integer"),
    "time": lambda c: c.kind == "time",
    "order_id": lambda c: c.kind in ("text", "integer"),
    "product_id": lambda c: c.kind in ("text", "integer"),
    "quantity": lambda c: c.numbers is not None,
    "unit_price": lambda c: c.numbers is not None,
    "amount": lambda c: c.numbers is not None,
    "discount": lambda c: c.numbers is not None,
    "margin": lambda c: c.numbers is not None,
    "cost": lambda c: c.numbers is not None,
    "unit_cost": lambda c: c.numbers is not None,
    "event_type": lambda c: c.kind in ("text", "yes/no", "integer") and c.distinct <= FEW,
    "channel": lambda c: c.kind == "text" and c.distinct <= FEW,
    "category": lambda c: c.kind in ("text", "integer"),
}


@dataclass(frozen=True)
class Part:
    """A column in its part; ``others`` might have been meant instead. ``by_content``: its name did not say so."""

    column: Column
    others: tuple[str, ...] = ()
    by_content: bool = False


def assign(columns: list[Column]) -> dict[str, Part]:
    """The parts that a file's columns play; a column plays one."""
    parts: dict[str, Part] = {}
    taken: set[str] = set()
    for role in NAMES:
        free = [c for c in columns if c.name not in taken]
        found = _by_name(role, free) or (_time(free) if role == "time" else [])
        if role == "event_type":
            found = [c for c in found if tells_types(c)]
        if found:
            parts[role] = Part(found[0], tuple(c.name for c in found[1:]))
            taken.add(found[0].name)
    free = [c for c in columns if c.name not in taken]
    if "customer_id" not in parts and (likely := _customer(free)):
        parts["customer_id"] = Part(likely[0], tuple(c.name for c in likely[1:]), by_content=True)
    if not parts.keys() & {"amount", "unit_price"} and (money := _money(free)):
        parts["amount"] = Part(money[0], tuple(c.name for c in money[1:]), by_content=True)
    return parts


def tells_types(column: Column) -> bool:
    """Whether a column tells kinds of events: by name, or by holding words for a return (a status, a flag)."""
    if column.kind == "yes/no" or column.kind == "integer":
        return any(word in column.key for word in RETURN_KEYS)
    return "status" not in column.key or bool(words_in(column, (*RETURN_WORDS, *VOID_WORDS)))


def words_in(column: Column, words: tuple[str, ...]) -> list[str]:
    """The column's values that are, but for case and punctuation, one of these words."""
    values = column.series.drop_nulls().unique().cast(pl.String)
    bare = values.str.normalize("NFKD").str.to_lowercase().str.replace_all(r"[^a-z]", "")
    return sorted(values.filter(bare.is_in(words)).to_list())


def cancel_marker(order: Column, signs: Column | None) -> tuple[int, int] | None:
    """How many order ids are C and digits, beside plain digits, and how many of these lines are negative.

    None where that is not how the ids look, or where the lines' amounts say otherwise.
    """
    text = order.series.cast(pl.String)
    marked, plain = text.str.contains(r"^C\d+$").fill_null(False), text.str.contains(r"^\d+$").fill_null(False)
    if not marked.any() or (marked | plain).sum() < 0.95 * order.filled or marked.sum() > plain.sum():
        return None
    if signs is None or signs.numbers is None:
        return int(marked.sum()), 0
    negative = int((marked & (signs.numbers < 0).fill_null(False)).sum())
    return (int(marked.sum()), negative) if 2 * negative >= marked.sum() else None


def one_customer_each(order: Column, customer: Column) -> float:
    """Share of the orders whose lines all name one customer."""
    both = pl.DataFrame({"order": order.series, "customer": customer.series}).drop_nulls()
    if both.is_empty():
        return 0.0
    per_order = both.group_by("order").agg(pl.col("customer").n_unique())
    return per_order.filter(pl.col("customer") == 1).height / per_order.height


def _by_name(role: str, columns: list[Column]) -> list[Column]:
    """Fitting columns with one of the role's names, best first; then those that contain a long one of them."""
    names, fits = NAMES[role], _FITS[role]
    exact = {c.name: names.index(c.key) for c in columns if c.key in names and fits(c)}
    loose = {
        c.name: len(names) + min(i for i, n in enumerate(names) if _contains(c.key, n))
        for c in columns
        if c.name not in exact and fits(c) and any(_contains(c.key, n) for n in names)
    }
    if role == "discount" or not (exact or role in EXACT):
        exact |= loose
    return sorted((c for c in columns if c.name in exact), key=lambda c: exact[c.name])


def _contains(key: str, name: str) -> bool:
    """A name of six letters or more at either end; shorter ones mislead ('sales' in 'salesperson')."""
    return len(name) >= 6 and (key.startswith(name) or key.endswith(name))


def _time(columns: list[Column]) -> list[Column]:
    """Any column of times, those with a clock first, and none that is a birthday or a due date."""
    times = [c for c in columns if c.kind == "time" and not any(word in c.key for word in NOT_EVENTS)]
    return sorted(times, key=lambda c: (not c.clocked, -c.distinct))


def _customer(columns: list[Column]) -> list[Column]:
    """Columns that could be ids: they repeat, and have many values."""
    ids = [c for c in columns if c.kind in ("text", "integer") and 1 < c.distinct < c.filled and "name" not in c.key]
    named = [c for c in ids if c.key.endswith(("id", "no", "number", "code", "key"))]
    return sorted(named or [c for c in ids if c.distinct > FEW], key=lambda c: -c.distinct)


def _money(columns: list[Column]) -> list[Column]:
    """Columns of numbers with decimals, mostly above zero."""
    odd = ("lat", "lon", "rate", "tax", "ship", "weight", "cost", "score", "percent", "pct")
    return [
        c for c in columns
        if c.kind == "number" and c.numbers is not None and not c.key.startswith(odd) and 2 * c.below_zero() < c.filled
    ]  # fmt: skip
