#!/bin/bash
# Installs the Debian packages that the local node needs, those that are missing and no others.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# program:package
WANTED="containerd:containerd runc:runc catatonit:catatonit buildah:buildah mmdebstrap:mmdebstrap
  iptables:iptables nft:nftables conntrack:conntrack ethtool:ethtool socat:socat unshare:util-linux ip:iproute2 sysctl:procps
  redis-server:redis-server java:openjdk-17-jre-headless javac:openjdk-17-jdk-headless mvn:maven unzip:unzip zip:zip jq:jq curl:curl
  cmake:cmake make:make gcc:gcc node:nodejs npm:npm chromium:chromium chromedriver:chromium-driver python3:python3"

missing() {
  local w
  for w in $WANTED; do
    command -v "${w%%:*}" > /dev/null || echo "${w#*:}"
  done
  [ -x /usr/lib/cni/bridge ] || echo containernetworking-plugins
  [ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
}

# Debian starts a service when it is installed. We run these programs ourselves and want no daemon beside them.
without_daemons() {
  local policy=/usr/sbin/policy-rc.d made=
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod +x $policy
    made=1
  fi
  local rc=0
  "$@" || rc=$?
  [ -z "$made" ] || rm -f $policy
  return $rc
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2068
  without_daemons apt-get install -y --no-install-recommends $@ && return
  apt-get update   # the lists are missing or name versions that are gone
  # shellcheck disable=SC2068
  without_daemons apt-get install -y --no-install-recommends $@
}

command -v go > /dev/null || die "Go 1.26 or newer is needed to build the node's binaries"
todo=$(missing | sort -u | tr '\n' ' ')
[ -z "$todo" ] && exit
need_root
command -v apt-get > /dev/null || die "please install: $todo"
# shellcheck disable=SC2086
step "install packages: $todo" install_packages $todo
