"""The ``text`` part of ``events``: how words of feedback become numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from churn_clv.config._base import Section

TopicName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Word = Annotated[str, Field(pattern=r"\w", max_length=100)]
TOPICS = {
    "price": ("price*", "pricing", "expensive", "cheap*", "overpriced", "cost*", "fee", "fees", "discount*", "coupon*"),
    "delivery": ("deliver*", "shipping", "shipped", "shipment*", "courier", "parcel", "arriv*", "tracking", "delay*"),
    "quality": ("quality", "broken", "broke", "defect*", "damaged", "faulty", "worn", "taste*", "stale", "fresh"),
    "service": (
        "service",
        "staff",
        "support",
        "rude",
        "unhelpful",
        "helpful",
        "friendly",
        "call cent*",
        "no answer",
        "no reply",
    ),
    "returns": ("refund*", "money back", "return label", "sent back", "send back", "exchange*"),
    "range": ("out of stock", "sold out", "unavailable", "selection", "assortment", "choice"),
    "account": ("password", "login", "log in", "app", "website", "site", "checkout", "account"),
}


class Text(Section):
    """Whether texts are read, and how; topics are told by words, each a word, a phrase, or a beginning with *."""

    read: bool = False
    sentiment: bool = True
    topics: dict[TopicName, tuple[Word, ...]] = Field(default_factory=lambda: dict(TOPICS))
