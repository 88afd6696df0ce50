#!/bin/bash
# Makes the "machine" that the node runs in: an init process in net, mount, pid, uts and cgroup namespaces of its own.
# Nothing that kubeadm, the kubelet or containerd write under their fixed paths (/etc/kubernetes, /var/lib/kubelet,
# /etc/cni, /opt, /run, /var/log) reaches this computer, and taking it all down is one kill.
#
#   machine.sh start BIN   makes it; afterwards NODE/in COMMAND... runs a command there
#   machine.sh inside BIN  (used by start) prepares the namespaces from within
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# --- cgroups -----------------------------------------------------------------
# Both layouts: one folder per controller (v1), or a single tree (v2; not tried here, our machines have v1).
cgroup_v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }

make_cgroups() {
  local h f
  if cgroup_v2; then
    mkdir -p /sys/fs/cgroup/$NODE_NAME/init
    sed 's/\([a-z]\+\)/+\1/g' /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control || true
    return
  fi
  for h in /sys/fs/cgroup/*/; do
    mkdir -p "$h$NODE_NAME"
    [ -e "$h/cpuset.cpus" ] || continue
    for f in cpus mems; do cat "$h/cpuset.$f" > "$h$NODE_NAME/cpuset.$f"; done   # empty ones admit no process
  done
}

mount_cgroups() {
  local names h
  if cgroup_v2; then
    mount -t sysfs sysfs /sys
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    # A cgroup with processes of its own cannot hand its controllers down: init lives one level deeper.
    sed 's/\([a-z]\+\)/+\1/g' /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control
    return
  fi
  names=$(cd /sys/fs/cgroup && printf '%s\n' */)
  mount -t sysfs sysfs /sys
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for h in $names; do
    h=${h%/}
    mkdir "/sys/fs/cgroup/$h"
    case $h in
      unified) mount -t cgroup2 cgroup2 "/sys/fs/cgroup/$h" ;;
      systemd) mount -t cgroup -o none,name=systemd cgroup "/sys/fs/cgroup/$h" ;;
      *) mount -t cgroup -o "$h" cgroup "/sys/fs/cgroup/$h" ;;
    esac
  done
}

# --- within the new namespaces -----------------------------------------------
mount_files() {
  local d
  for d in etc opt; do
    mount -t overlay -o "lowerdir=/$d,upperdir=$NODE/$d-up,workdir=$NODE/$d-work" overlay /$d
  done
  # /run is covered, so what we need from under it or from the cache is bound first.
  mount -t tmpfs -o mode=755 tmpfs "$NODE/run"
  mkdir "$NODE/run/node" "$NODE/run/bin"
  mount --bind "$NODE" "$NODE/run/node"
  mount --bind "$1" "$NODE/run/bin"
  mount --rbind "$NODE/run" /run
  for d in /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $d; done
  mkdir -p /etc/kubernetes /etc/cni/net.d /opt/cni/bin /opt/local-path-provisioner /var/lib/kubelet /var/lib/etcd /var/log/pods
  # A Kubernetes that this computer may be part of must not shine through.
  for d in /etc/kubernetes /etc/cni/net.d /opt/cni/bin; do mount -t tmpfs -o mode=755 tmpfs $d; done
  [ ! -d /usr/libexec ] || mount -t tmpfs -o mode=755 tmpfs /usr/libexec   # the kubelet makes its plugin folder here
  cp /usr/lib/cni/* /opt/cni/bin/
  mount --bind /run/node/kubelet /var/lib/kubelet
  mount --bind /run/node/etcd /var/lib/etcd
  mount --bind /run/node/pod-logs /var/log/pods
  mount --bind /run/node/volumes /opt/local-path-provisioner
  mount --make-rshared /
}

name_it() {
  hostname $NODE_NAME
  printf '127.0.0.1 localhost\n%s %s\n' $NODE_IP $NODE_NAME > /etc/hosts
  : > /etc/resolv.conf   # else kubeadm waits 10 s for a DNS answer about its own name
}

# The node's network has no way out: what is neither a pod, a Service nor the host is unreachable at once.
wire_inside() {
  ip link set lo up
  ip link add node0 type bridge   # a holder for the node's address; some kernels have no `dummy` device
  ip addr add $NODE_IP/24 dev node0
  ip link set node0 up
  ip addr add $NODE_HOST/30 dev host0
  ip link set host0 up
  ip route add $SERVICE_SUBNET dev node0   # a route must exist before kube-proxy's rules can redirect a packet
  ip route add unreachable default
  sysctl -qw net.ipv4.ip_forward=1
  sysctl -qw net.bridge.bridge-nf-call-iptables=1 || true
}

inside() {
  mount --make-rprivate /
  mount_cgroups
  mount_files "$1"
  name_it
  until ip link show host0 > /dev/null 2>&1; do sleep 0.05; done   # whoever starts us gives up in time
  wire_inside
  touch /run/node/up
  exec catatonit -P > /dev/null 2>&1 < /dev/null   # reaps whatever loses its parent
}

# --- from outside ------------------------------------------------------------
# nsenter joins namespaces, not cgroups: without this a command would escape the node's cgroups.
write_in() {
  write "$NODE/in" << IN
#!/bin/bash
# Runs a command on the node.
for h in /sys/fs/cgroup/$NODE_NAME/init/ /sys/fs/cgroup/*/$NODE_NAME/; do
  [ ! -e "\$h/cgroup.procs" ] || echo \$\$ > "\$h/cgroup.procs"
done
exec nsenter -t $1 -n -m -u -p -C -- "\$@"
IN
  chmod +x "$NODE/in"
}

# Runs in the background and becomes `unshare`: the machine outlives this script and its terminal.
launch() {
  for h in /sys/fs/cgroup/$NODE_NAME/init/ /sys/fs/cgroup/*/$NODE_NAME/; do
    [ ! -e "$h/cgroup.procs" ] || echo $BASHPID > "$h/cgroup.procs"   # these become the roots of the cgroup namespace
  done
  exec setsid unshare -n -m -u -p -C -f --kill-child --mount-proc \
    bash "$HERE/machine.sh" inside "$1" > "$NODE/machine.log" 2>&1 < /dev/null 9>&-
}

await() {
  if ! kill -0 "$1" 2> /dev/null || ((++waited > 400)); then
    die "the machine did not start: $(tail -n 3 "$NODE/machine.log")"
  fi
  sleep 0.05
}

start() {
  waited=0
  local outer init
  mkdir -p "$NODE"/{run,containerd,kubelet,etcd,volumes,pod-logs,audit,imported,etc-up,etc-work,opt-up,opt-work}
  modprobe -qa overlay br_netfilter nf_conntrack 2> /dev/null || true   # built in, or loaded, or it will say so itself
  make_cgroups
  launch "$1" &
  outer=$!
  until init=$(pgrep -P $outer) && [ "$(readlink "/proc/$init/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do await $outer; done
  ip link add $NODE_VETH type veth peer name host0 netns "$init"
  ip addr add $NODE_HOST_SIDE/30 dev $NODE_VETH
  ip link set $NODE_VETH up
  until [ -e "$NODE/up" ]; do await $outer; done
  write_in "$init"
}

case ${1:-} in
  start) start "$2" ;;
  inside) inside "$2" ;;
  *) die "usage: machine.sh start BIN" ;;
esac
