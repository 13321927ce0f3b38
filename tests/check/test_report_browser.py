"""The report in a real browser, without a network: nothing wider than a phone, every picture decodes, it prints."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from reported import base, drawn

from churn_clv import overview_figure, overview_page

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), "")
pytestmark = [
    pytest.mark.check,
    pytest.mark.skipif(not BROWSER, reason="no Chromium on this machine: the report is not looked at in a browser"),
]
# A page may not be asked from outside, so it is asked from a frame around it: its width, its pictures, its sections.
FRAME = """<iframe id="f" src="{page}" style="width:{width}px;height:800px;border:0"></iframe>
<pre id="said"></pre><script>
document.getElementById("f").onload = function () {{
  const inside = this.contentDocument, pictures = [...inside.images];
  const broken = pictures.filter(p => !p.complete || !p.naturalWidth).length;
  document.getElementById("said").textContent = [inside.documentElement.scrollWidth, pictures.length, broken,
    inside.querySelectorAll("section").length, inside.documentElement.innerText.length].join(" ");
}};</script>"""


def browse(folder: Path, *options: str) -> str:
    """What a browser prints that knows no other machine and starts from an empty profile."""
    given = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files", "--virtual-time-budget=10000",
        f"--user-data-dir={folder / 'profile'}",
    ]  # fmt: skip
    done = subprocess.run([*given, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    document = base(folder)
    overview_page.write(overview_page.render(document, overview_figure.png(drawn(document))), folder / "report.html")
    return folder / "report.html"


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_nothing_is_wider_than_the_screen_and_all_is_shown(page: Path, width: int) -> None:
    frame = page.with_name(f"frame{width}.html")
    frame.write_text(FRAME.format(page=page.name, width=width), encoding="utf-8")
    dom = browse(page.parent, "--dump-dom", frame.as_uri())
    said = re.search(r'<pre id="said">([\d ]+)</pre>', dom)
    assert said, html.escape(dom[-500:])
    wide, pictures, broken, sections, letters = map(int, said[1].split())
    assert wide <= width and broken == 0
    assert pictures >= 9 and sections == 12 and letters > 3000


def test_it_prints(page: Path) -> None:
    paper = page.with_name("report.pdf")
    browse(page.parent, f"--print-to-pdf={paper}", "--no-pdf-header-footer", page.as_uri())
    assert paper.read_bytes().startswith(b"%PDF") and paper.stat().st_size > 100_000
