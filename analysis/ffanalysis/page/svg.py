"""Make the SVG of a picture fit for use inside a page."""

import re

DROPPED = re.compile(
    r"<\?xml.*?\?>|<!DOCTYPE.*?>|<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL
)
IDS = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')
HEAD = re.compile(r"<svg\b[^>]*>")
BOX = re.compile(r'viewBox="([^"]+)"')


def inline(text: str, name: str) -> str:
    """The SVG without prolog, comments and fixed size; its ids begin with `name`, so that they are
    unique on the page.
    """
    text = IDS.sub(lambda match: f"{match[1]}{name}-{match[2]}", DROPPED.sub("", text))
    head = HEAD.search(text)
    box = BOX.search(head[0]) if head else None
    if not head or not box:
        raise ValueError(f"{name}: not an SVG with a viewBox")
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box[1]}" role="img" style="stroke-linejoin:round;stroke-linecap:butt">'
    )
    return opening + text[head.end() :].strip()


def width(text: str) -> float:
    """Width of the SVG's box, points."""
    box = BOX.search(text)
    return float(box[1].split()[2]) if box else 0.0
