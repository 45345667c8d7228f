"""All actions that plans of the estate are made of."""

from __future__ import annotations

from qhs.drill.actions import Actions
from qhs.drill.asking import ASKING
from qhs.drill.bubbling import BUBBLING
from qhs.drill.ground import Ground
from qhs.drill.moving import MOVING
from qhs.drill.restoring import RESTORING

ESTATE: Actions[Ground] = Actions({**ASKING.known, **MOVING.known, **RESTORING.known, **BUBBLING.known})
