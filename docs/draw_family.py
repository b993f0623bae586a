"""Draw docs/family.svg: VRNN, SRNN, Z-Forcing and DMM as prior, posterior, state, backward state and output.

python docs/draw_family.py
"""

from pathlib import Path

INK, SOFT, AUX, BACK, BLUE, GREEN = "#1f2933", "#8594a3", "#b4532a", "#ffffff", "#dfeaf6", "#e3f1e3"


def box(x, y, label, note="", fill=BLUE, width=74, height=34):
    """Return a labelled box centred at (x, y)."""
    parts = [
        f'<rect x="{x - width / 2}" y="{y - height / 2}" width="{width}" height="{height}" rx="5" '
        f'fill="{fill}" stroke="{INK}"/>',
        text(x, y + (-1 if note else 5), label),
    ]
    return "".join(parts + [text(x, y + 13, note, 10, SOFT)] if note else parts)


def circle(x, y, label):
    """Return a latent, a labelled circle."""
    return f'<circle cx="{x}" cy="{y}" r="17" fill="#fdf3d8" stroke="{INK}"/>' + text(x, y + 5, label)


def text(x, y, words, size=14, fill=INK, weight="normal"):
    """Return centred words; an underscore starts a subscript."""
    head, _, sub = words.partition("_")
    lowered = f'<tspan dy="3" font-size="{size * 0.7:.0f}">{sub}</tspan>' if sub else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" font-weight="{weight}" text-anchor="middle">'
        f"{head}{lowered}</text>"
    )


def arrow(*points, aux=False):
    """Return an arrow through the points: two make a line, three or four a curve."""
    kind = {2: "L", 3: "Q", 4: "C"}[len(points)]
    path = f"M{points[0][0]},{points[0][1]} {kind}" + " ".join(f"{x},{y}" for x, y in points[1:])
    style = f'stroke="{AUX}" stroke-dasharray="5 3" marker-end="url(#aux)"' if aux else 'marker-end="url(#ink)"'
    return f'<path d="{path}" {style}/>'


def vrnn():
    """z reads the present alone, and reaches state and output."""
    return [
        box(240, 40, "output"), box(60, 115, "h_t-1"), box(240, 115, "h_t"), circle(150, 165, "z_t"),
        box(70, 235, "prior", fill=GREEN), box(200, 235, "posterior", fill=GREEN, width=84),
        box(200, 375, "y_t", fill=BACK),
        arrow((97, 115), (203, 115)), arrow((60, 132), (66, 218)), arrow((82, 132), (172, 218)),
        arrow((92, 218), (136, 177)), arrow((190, 218), (163, 178)), arrow((200, 358), (200, 252)),
        arrow((166, 158), (205, 132)), arrow((155, 149), (212, 57)), arrow((85, 98), (203, 48)),
        arrow((237, 372), (310, 340), (290, 170), (256, 132)),
        text(150, 415, "no backward state; z reaches h and output", 12, SOFT),
    ]  # fmt: skip


def srnn():
    """z reads the future through a backward state, and stays out of the forward state."""
    return [
        box(60, 40, "u_t", fill=BACK), box(240, 40, "output"), box(60, 115, "d_t"), circle(150, 165, "z_t"),
        circle(16, 235, "z_t-1"),
        box(90, 235, "prior", fill=GREEN, width=60), box(210, 235, "posterior", fill=GREEN, width=84),
        box(210, 305, "a_t"), box(210, 375, "y_t..T", fill=BACK),
        arrow((60, 57), (60, 98)), arrow((64, 132), (84, 218)), arrow((102, 218), (139, 179)),
        arrow((200, 218), (163, 177)), arrow((210, 358), (210, 322)), arrow((210, 288), (210, 252)),
        arrow((155, 149), (215, 57)), arrow((97, 105), (203, 50)), arrow((33, 235), (59, 235)),
        arrow((25, 250), (90, 300), (176, 253)), arrow((120, 235), (167, 235)),
        arrow((38, 132), (-55, 200), (-55, 335), (172, 310)),
        text(150, 415, "posterior = prior + correction; z reaches output only", 12, SOFT),
    ]  # fmt: skip


def zforcing():
    """z reads the future through a backward state that it must predict, and reaches the output through h."""
    return [
        box(240, 40, "output"), box(60, 115, "h_t-1"), box(240, 115, "h_t"), circle(150, 165, "z_t"),
        box(70, 235, "prior", fill=GREEN), box(200, 235, "posterior", fill=GREEN, width=84),
        box(200, 305, "b_t"), box(200, 375, "y_t..T", fill=BACK), box(285, 235, "u_t", fill=BACK, width=40),
        arrow((97, 115), (203, 115)), arrow((60, 132), (66, 218)), arrow((82, 132), (172, 218)),
        arrow((92, 218), (136, 177)), arrow((190, 218), (163, 178)), arrow((200, 288), (200, 252)),
        arrow((200, 358), (200, 322)), arrow((166, 158), (205, 132)), arrow((240, 98), (240, 57)),
        arrow((281, 218), (256, 132)),
        arrow((144, 182), (118, 270), (163, 300), aux=True), arrow((237, 298), (278, 285), (283, 252), aux=True),
        text(112, 282, "auxiliary", 11, AUX), text(277, 300, "reverse", 11, AUX),
        text(150, 415, "z reaches the output through h, and predicts b", 12, SOFT),
    ]  # fmt: skip


def dmm():
    """z is the only state, and reads the future through a backward state."""
    return [
        box(150, 40, "output"), circle(16, 165, "z_t-1"), circle(150, 165, "z_t"), circle(284, 165, "z_t+1"),
        box(70, 235, "prior", fill=GREEN, width=60), box(200, 235, "posterior", fill=GREEN, width=84),
        box(200, 305, "b_t"), box(200, 375, "y_t..T", fill=BACK),
        arrow((26, 179), (56, 218)), arrow((88, 218), (136, 176)), arrow((33, 167), (110, 185), (172, 218)),
        arrow((190, 218), (163, 178)), arrow((200, 358), (200, 322)), arrow((200, 288), (200, 252)),
        arrow((150, 148), (150, 57)), arrow((167, 165), (267, 165)),
        text(150, 415, "no forward state; z is the state and reaches output", 12, SOFT),
    ]  # fmt: skip


def draw() -> str:
    """Return the SVG."""
    marker = (
        '<marker id="{}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="{}" stroke="none"/></marker>'
    )
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1365 470" font-family="Helvetica, Arial, sans-serif">',
        "<title>VRNN, SRNN, Z-Forcing and DMM: prior, posterior, forward state, backward state, output</title>",
        f"<defs>{marker.format('ink', INK)}{marker.format('aux', AUX)}</defs>",
        f'<rect width="1365" height="470" fill="{BACK}"/><g fill="none" stroke="{INK}" stroke-width="1.3">',
    ]
    for column, (title, panel) in enumerate((("VRNN", vrnn), ("SRNN", srnn), ("Z-Forcing", zforcing), ("DMM", dmm))):
        shapes = "".join(panel()).replace("<text", '<text stroke="none"')
        parts.append(f'<g transform="translate({20 + 345 * column},35)">{shapes}')
        parts.append(text(150, -10, title, 18, INK, "bold").replace("<text", '<text stroke="none"') + "</g>")
    return "\n".join([*parts, "</g></svg>"]) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent / "family.svg").write_text(draw(), encoding="utf-8")
