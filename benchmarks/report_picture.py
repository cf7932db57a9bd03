"""Draw docs/report.png: the page of an evaluation, as a browser shows it.

    python benchmarks/report_picture.py results/varedit/report.html --output docs/report.png

Needs Chromium (apt-get install chromium).
"""

import argparse
import pathlib
import subprocess
import tempfile

from PIL import Image

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
COLOURS = 256  # of the picture's palette


def main() -> None:
    """Take the screenshot and write it with a palette."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("docs/report.png"))
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--size", default="1180,900", help="width and height in pixels")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        shot = pathlib.Path(folder) / "shot.png"
        own = [f"--user-data-dir={folder}/profile", f"--screenshot={shot}"]
        page = args.page.absolute().as_uri()
        command = [args.browser, *FLAGS, *own, f"--window-size={args.size}", page]
        subprocess.run(command, check=True, timeout=120, stderr=subprocess.DEVNULL)
        picture = Image.open(shot).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(args.output, optimize=True)
    print(f"wrote {args.output}: {args.output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
