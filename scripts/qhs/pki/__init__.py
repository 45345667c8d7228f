"""The bootstrap authority, made at first use in the state folder: root of all certificates, and whom sshd believes.

`root.key` and `users` never leave the folder. What machines must know of it are `root.crt`, `users.pub` and
`revoked`; what they answer with, the key of each site's authority for host certificates, lies in `hosts/`.
"""

from qhs.pki.files import ensure, folder, hosts, trust_hosts
from qhs.pki.root import sign_authority
from qhs.pki.users import current, revoke

__all__ = ["current", "ensure", "folder", "hosts", "revoke", "sign_authority", "trust_hosts"]
