"""Order and colours of the map: zones stand in layers of trust, from what faces outside to what governs."""

from __future__ import annotations

from typing import NamedTuple

from stacks.model.catalogue import Title, ZoneKind


class Layer(NamedTuple):
    """Kinds of zones that stand together."""

    title: Title
    kinds: tuple[ZoneKind, ...]
    fill: str
    edge: str


K = ZoneKind
LAYERS = (
    Layer(Title(vi="Vùng biên", en="Edge"), (K.DMZ, K.VENDOR), "#fbe3d6", "#c8501e"),
    Layer(Title(vi="Người dùng", en="Users"), (K.USER, K.WIRELESS, K.SESSION), "#e4f0d9", "#4d7f2b"),
    Layer(Title(vi="Ứng dụng", en="Applications"), (K.APP,), "#dceaf8", "#2468a8"),
    Layer(Title(vi="Dữ liệu và khóa", en="Data and keys"), (K.DATA, K.STORAGE, K.SIGNING), "#e6dff4", "#64419f"),
    Layer(Title(vi="Dịch vụ nền", en="Base services"), (K.INFRASTRUCTURE,), "#e3e8ec", "#52616e"),
    Layer(Title(vi="Điều hành", en="Control"), (K.MANAGEMENT, K.SOC, K.BACKUP), "#fdf0c4", "#97730a"),
    Layer(Title(vi="Tách riêng", en="Set apart"), (K.TRIAL, K.LEGACY, K.SECRET), "#f3dbe4", "#a3305c"),
)
RAILS = {"internet": "#b3261e", "tslcd": "#1d6b52", "branch": "#6a4c93", "dci": "#52616e"}
BREAKS, OPEN, EXPIRING = "#2e8b57", "#2468a8", "#d98200"
