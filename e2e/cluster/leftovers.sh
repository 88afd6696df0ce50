#!/bin/bash
# Names what a cluster left behind. Prints nothing, and succeeds, when there is nothing.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

processes() {
  local pid
  for pid in $(find /sys/fs/cgroup -path "*/$NODE_NAME/*" -name cgroup.procs -exec cat {} + 2> /dev/null | sort -un); do
    echo "process $pid: $(cat "/proc/$pid/comm" 2> /dev/null)"
  done
  # By name too, in case one got out of the cgroup.
  for pid in /proc/[0-9]*; do
    ! grep -qsaF "$NODE/" "$pid/cmdline" || echo "process ${pid#/proc/}: $(cat "$pid/comm" 2> /dev/null)"
  done
}
mounts() { awk -v node="$NODE" -v cache="$CACHE" 'index($2, node) == 1 || index($2, cache "/rootfs") == 1 || index($2, cache "/buildah") == 1 {print "mount " $2}' /proc/mounts; }
links() { ip -o link show $NODE_VETH 2> /dev/null | awk '{print "link " $2}'; }
# A network namespace of the node's lives as long as its processes, a mount of it, or its end of the link: all are looked for.
cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$NODE_NAME" -printf 'cgroup %p\n' 2> /dev/null; }
files() { [ ! -e "$NODE" ] || echo "files $NODE"; }

found=$(processes; mounts; links; cgroups; files)
[ -z "$found" ] && exit
echo "$found"
exit 1
