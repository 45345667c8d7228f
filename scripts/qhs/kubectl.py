"""A plain `kubectl` in `qhs shell`: as whoever provisions, at the cluster of a site (`--context SITE`, else the first).

python -m qhs.kubectl WORDS...
"""

from __future__ import annotations

import sys
from itertools import pairwise

from qhs import cluster, tools
from qhs.console import progress
from stacks.provider.access import TrustAccess
from stacks.provider.secret.client import StoreError
from stacks.provider.settings import ProviderError


def main(*words: str) -> int:
    """Returns kubectl's exit code; 1 with a line on standard error where nobody lets us in."""
    program = tools.ensure(["kubernetes"], progress)["kubernetes"].programs["kubectl"]
    try:
        settings = cluster.settings()
        site = chosen(words, TrustAccess.read(settings.trust_access))
        return cluster.run(settings, site, [str(program), *words])
    except (ProviderError, StoreError) as error:
        print(error, file=sys.stderr)
        return 1


def chosen(words: tuple[str, ...], access: TrustAccess) -> str:
    """The site whose cluster the words are for. Raises ProviderError where it has none."""
    named = [after for word, after in pairwise([*words, ""]) if word == "--context"]
    named += [word.removeprefix("--context=") for word in words if word.startswith("--context=")]
    site = named[-1] if named else next(iter(access.clusters), "")
    if site not in access.clusters:
        raise ProviderError(f"--context: found {site!r}; wanted a site with a cluster: {', '.join(access.clusters)}")
    return site


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
