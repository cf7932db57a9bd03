"""The page in a real browser: send, draw, edit, compare, download."""

import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jaxedit.assets import ROOT
from jaxedit.editor import provenance

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCENE = ROOT / "scene.png"
MINUTE = 60_000  # milliseconds
# Buttons and inputs that are seen, and have neither a text nor a label.
NAMELESS = """() => [...document.querySelectorAll("button, input, textarea, select")]
    .filter((e) => e.checkVisibility() && !e.innerText?.trim() && !e.labels?.length
        && !["aria-label", "aria-labelledby", "title"].some((name) => e.getAttribute(name)))
    .map((e) => e.outerHTML.slice(0, 200))"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def server():
    """The address of `python -m jaxedit.serve`, and its process."""
    command = [sys.executable, "-m", "jaxedit.serve", "--model=toy-varedit", "--port=0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            lines = iter(process.stderr.readline, "")
            address = next(filter(None, (re.search(r"http://\S+", line) for line in lines)))[0]
            next(line for line in lines if "ready" in line)
            yield address, process
        finally:
            process.kill()


@pytest.fixture
def page(server):
    """The page, in a browser whose console and requests are watched."""
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        options = {"executable_path": CHROMIUM, "args": ["--no-sandbox"]}
        browser = playwright.chromium.launch(**options)
        page, found = browser.new_page(), []
        page.on(
            "console", lambda line: line.type in ("error", "warning") and found.append(line.text)
        )
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("request", lambda request: _note_if_elsewhere(request.url, server[0], found))
        page.set_default_timeout(3 * MINUTE)
        yield page
        assert found == []
        browser.close()


def _note_if_elsewhere(url, address, found):
    if not url.startswith((address, "data:", "blob:")):
        found.append(url)


def test_send_draw_edit_compare_download(page, server, tmp_path):
    address, process = server
    page.goto(f"{address}/?guidance=2&seed=1")
    page.set_input_files("#photo .photo-file", SCENE)
    page.fill("#prompt textarea", "")
    page.locator("#photo .mask").wait_for()
    page.click("#edit")  # without words
    page.get_by_text("prompt='': expected some words").wait_for()
    page.fill("#prompt textarea", "make the ball blue")
    box = page.locator("#photo .mask").bounding_box()
    left, middle = box["x"] + box["width"] * 0.05, box["y"] + box["height"] * 0.75
    page.locator("#photo .size").fill("50")
    page.mouse.move(left, middle)
    page.mouse.down()
    page.mouse.move(left + box["width"] * 0.4, middle, steps=3)
    page.mouse.up()
    page.click("#edit")
    page.locator("#slider img").first.wait_for()
    assert page.evaluate(NAMELESS) == []
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "edited.png")
    settings = provenance.read_settings(tmp_path / "edited.png")
    wanted = {
        "instruction": "make the ball blue",
        "guidance": 2.0,
        "seed": 1,
        "model": "toy-varedit",
    }
    assert settings | wanted == settings and settings["source_sha256"] == provenance.sha256(SCENE)
    source, edit = (np.asarray(Image.open(path)) for path in (SCENE, tmp_path / "edited.png"))
    changed = (source != edit).any(-1)
    height, width = changed.shape
    assert changed.any() and not changed[: height // 3].any()  # nothing outside the mask
    link = page.locator("#link textarea, #link input")
    assert link.input_value().startswith(f"{address}/?prompt=make+the+ball+blue&")
    process.terminate()  # an open page keeps no server
    assert process.wait(60) == -15 or process.returncode == 0
