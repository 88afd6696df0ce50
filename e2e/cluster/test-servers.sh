#!/usr/bin/env bash
# Makes ready what tests on this machine start themselves: kube-apiserver and etcd, MySQL, Redis, Prometheus, kstatus,
# Seata.
# Writes where they are to .local/servers.env. Safe to run again; everything is cached.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

lock
run() { bash "$HERE/$1.sh" "${@:2}"; }
run packages
run binaries
bin=$(run binaries | tail -n 1)
run prometheus
run kstatus
run images stores
seata=$(run seata)
write "$LOCAL/servers.env" << ENV
KUBE_BIN=$bin
MYSQL_ROOTFS=$(run images rootfs)
PROMETHEUS_BIN=$(run prometheus | tail -n 1)
KSTATUS_BIN=$(run kstatus | tail -n 1)
$seata
ENV
