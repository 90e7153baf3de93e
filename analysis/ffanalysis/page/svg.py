"""A figure's SVG made fit to stand inside a page."""

import re

DROPPED = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL
)
IDS = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')
HEAD = re.compile(r"<svg\b[^>]*>")
BOX = re.compile(r'viewBox="([^"]+)"')


def inline(text: str, name: str) -> str:
    """The SVG without prolog, comments and fixed size; its ids begin with `name`, so that figures
    do not mix them up.
    """
    text = IDS.sub(lambda found: f"{found[1]}{name}-{found[2]}", DROPPED.sub("", text))
    head = HEAD.search(text)
    box = BOX.search(head[0]) if head else None
    if not head or not box:
        raise ValueError(f"{name}: not an SVG with a viewBox")
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{box[1]}" '
        'role="img" style="stroke-linejoin:round;stroke-linecap:butt">'
    )
    return opening + text[head.end() :].strip()


def width(text: str) -> float:
    """Width of the SVG's box, points."""
    box = BOX.search(text)
    return float(box[1].split()[2]) if box else 0.0
