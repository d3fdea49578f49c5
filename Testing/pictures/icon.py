"""Draw the icon of the extension and of the module: ``python Testing/pictures/icon.py``.

Mid-tones without an outline of ink, so that it reads on the light and on the dark theme, and
lesions large enough to be seen at 21 pixels.
"""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 128
TARGETS = (
    REPOSITORY / "Resources" / "CovidLesionSeg.png",
    REPOSITORY / "CovidLesionSeg" / "Resources" / "Icons" / "CovidLesionSeg.png",
)
LUNG, RIM, LESION, RING = "#3f7fbf", "#8fc1ee", "#f07a1f", "#ffffff"
# Patient's right lung (left in the picture) with three lobes' bulk; the left one has the notch
# of the heart. Cubic Bezier points in a 128 x 128 frame: start, then (control, control, end).
RIGHT = (
    (49, 24),
    ((28, 16, 8, 62, 8, 100), (8, 118, 20, 116, 34, 108), (45, 101, 54, 106, 54, 92)),
    (54, 30),
)
LEFT = (
    (76, 24),
    ((98, 16, 120, 62, 120, 100), (120, 118, 108, 116, 94, 108), (88, 104, 92, 90, 78, 82)),
    (70, 76),
)
LESIONS = ((32, 84, 15), (97, 66, 11))


def draw(size: int = SIZE) -> object:
    """Return the icon as a `QImage` with a transparent background."""
    from PySide6.QtCore import QPointF, Qt
    from PySide6.QtGui import QColor, QImage, QPainter, QPainterPath, QPen

    image = QImage(size, size, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(size / 128, size / 128)
    rim = QPen(QColor(RIM), 5, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap)
    rim.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    painter.setPen(QPen(QColor(RIM), 9, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.drawLine(QPointF(64, 7), QPointF(64, 48))
    painter.setPen(rim)
    painter.setBrush(QColor(LUNG))
    for start, curves, end in (RIGHT, LEFT):
        path = QPainterPath(QPointF(*start))
        for curve in curves:
            path.cubicTo(*curve)
        path.lineTo(*end)
        path.closeSubpath()
        painter.drawPath(path)
    painter.setPen(QPen(QColor(RING), 4))
    painter.setBrush(QColor(LESION))
    for x, y, radius in LESIONS:
        painter.drawEllipse(QPointF(x, y), radius, radius)
    painter.end()
    return image


def main() -> None:
    """Write the icon to both of its places."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    image = draw()
    for target in TARGETS:
        image.save(str(target))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
