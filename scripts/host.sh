#!/usr/bin/env bash
# Installs what the twin needs on the host, where it is missing: Debian's own packages, by apt, as root.
set -euo pipefail
declare -A packages=([mmdebstrap]=mmdebstrap [systemd-nspawn]=systemd-container [nft]=nftables [ssh]=openssh-client
  [ip]=iproute2 [unshare]=util-linux [strace]=strace [git]=git)
missing=()
for program in "${!packages[@]}"; do
  command -v "$program" >/dev/null || PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing+=("${packages[$program]}")
done
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "host: missing ${missing[*]}; wanted all of them to run machines. Way out: install these packages as root" >&2
  exit 1
fi
echo "host: installing ${missing[*]}"
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
