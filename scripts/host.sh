#!/usr/bin/env bash
# Installs what the twin needs on the host, where it is missing: Debian's own packages, by apt, as root. `host.sh tests`:
# also what only tests need; `host.sh soak`: what only `make soak` does.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/setup.sh
declare -A packages=([mmdebstrap]=mmdebstrap [systemd-nspawn]=systemd-container [nft]=nftables [ssh]=openssh-client
  [ip]=iproute2 [unshare]=util-linux [strace]=strace [git]=git [apt-ftparchive]=apt-utils [umoci]=umoci)
# Machines are Debian's, whatever the host is: their packages are checked with Debian's keys.
declare -A files=([/usr/share/keyrings/debian-archive-keyring.gpg]=debian-archive-keyring)
if [ "${1:-}" ]; then
  packages+=([pdfsig]=poppler-utils)
fi
if [ "${1:-}" = soak ]; then
  packages+=([qemu-system-x86_64]=qemu-system-x86 [faketime]=faketime)
  files[/usr/share/OVMF/OVMF_CODE_4M.fd]=ovmf
fi
look() {
  missing=()
  local program file
  for program in "${!packages[@]}"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing+=("${packages[$program]}")
  done
  for file in "${!files[@]}"; do
    [ -e "$file" ] || missing+=("${files[$file]}")
  done
  [ ${#missing[@]} != 0 ]
}
look || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "host: missing ${missing[*]}; wanted all of them to run machines. Way out: install these packages as root" >&2
  exit 1
fi
take_turn host
look || exit 0
echo "host: installing ${missing[*]}"
apt_install "${missing[@]}"
