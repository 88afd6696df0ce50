#!/bin/bash
# Makes container images without a container engine or a registry, each once per content, as docker-archives in the cache.
#   images.sh node BIN    what the node itself runs: Kubernetes, etcd, CoreDNS, add-ons
#   images.sh stores      MySQL, Redis, Seata
#   images.sh product     ours, from images/*/Dockerfile and a release build; writes .local/images.env
#   images.sh rootfs      prints the folder of the MySQL image's files
# A list of "reference archive" lines goes to CACHE/images/{node,stores,product}.list.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

STORE=$CACHE/images
ARCH=$(dpkg --print-architecture)
MYSQL_IMAGE=docker.io/library/mysql:9.7
REDIS_IMAGE=docker.io/library/redis:8
SEATA_IMAGE=docker.io/apache/seata-server:1.8.0
PRODUCT="payment-operator payment-runtime channel-simulator"
PATH_ENV='"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"'

megabytes() { echo "$((($(stat -c %s "$1") + 524288) / 1048576)) MB"; }

# --- an image from a folder ---------------------------------------------------
# pack FOLDER REFERENCE ARCHIVE CONFIG: one layer, everything owned as in the folder, the same bytes for the same files.
pack() {
  local root=$1 ref=$2 out=$3 config=$4 t layer
  t=$(temp_beside "$out")
  tar -C "$root" --sort=name --mtime=@0 --numeric-owner --one-file-system -cf "$t/layer.tar" .
  layer=$(sha256sum < "$t/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"%s","os":"linux","config":%s,"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$ARCH" "$config" "$layer" > "$t/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$ref" > "$t/manifest.json"
  tar -C "$t" -cf "$t/image.tar" config.json layer.tar manifest.json
  mv "$t/image.tar" "$out"
  rm -rf "$t"
}

# --- root filesystems ---------------------------------------------------------
# debian SUITE FOLDER PACKAGE...: the packages' files, unpacked and nothing run: no documentation, no translations.
debian() {
  local suite=$1 out=$2
  shift 2
  # sid's index may be older than it says it should be; its signature is still checked.
  mmdebstrap --variant=extract --architectures="$ARCH" \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --keyring=/usr/share/keyrings --include="$(IFS=,; echo "$*")" \
    "$suite" "$out"
  chmod 755 "$out"
  # The way a package manager would be used is gone with its database; so is what only maintainer scripts call.
  rm -rf "$out"/var/{cache,lib/apt,lib/dpkg,log}/* "$out"/etc/apt "$out"/usr/share/{doc,man,locale,info,lintian,bug,bash-completion,zsh}
  rm -rf "$out"/usr/{bin,share,lib/*-linux-gnu}/perl* "$out"/usr/lib/*-linux-gnu/libperl* "$out"/usr/lib/*-linux-gnu/gconv
}

add_user() {   # FOLDER NAME UID
  echo "root:x:0:0:root:/root:/sbin/nologin" > "$1/etc/passwd"
  echo "root:x:0:" > "$1/etc/group"
  echo "$2:x:$3:$3:$2:/nonexistent:/sbin/nologin" >> "$1/etc/passwd"
  echo "$2:x:$3:" >> "$1/etc/group"
}

SHELL_TOOLS="base-files dash coreutils sed grep libc-bin"

rootfs_mysql() {
  # shellcheck disable=SC2086
  debian sid "$1" $SHELL_TOOLS mysql-server-core mysql-client-core
  add_user "$1" mysql 999
  (cd "$1/usr/bin" && rm -f aria* ibd2sdi innochecksum myisam* my_print_defaults mysql_migrate_keyring mysql_secure_installation \
    mysqld_multi mysqld_safe mysqldumpslow mysqlimport mysqlshow mysqlslap mysqlcheck perror mysql_config_editor lz4_decompress zlib_decompress)
  # mysqld wants its secure-file-priv folder to exist, whoever it runs as.
  mkdir -p "$1"/var/lib/{mysql,mysql-files} "$1/run/mysqld"
  chown 999:999 "$1/var/lib/mysql" "$1/run/mysqld"
  chmod 1777 "$1/run/mysqld" "$1/var/lib/mysql-files"
}

rootfs_redis() {
  # shellcheck disable=SC2086
  debian trixie "$1" $SHELL_TOOLS redis-server redis-tools
  add_user "$1" redis 999
  install -d -o 999 -g 999 "$1/data"
}

rootfs_kube_proxy() {
  # shellcheck disable=SC2086
  debian trixie "$1" base-files libc-bin iptables conntrack kmod
  local tool
  # Debian chooses between the two kinds of iptables in a script, which has not run: take this computer's kind.
  case $(iptables -V) in *nf_tables*) tool=xtables-nft-multi ;; *) tool=xtables-legacy-multi ;; esac
  for n in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do ln -sf $tool "$1/usr/sbin/$n"; done
  install -D "$BIN/kube-proxy" "$1/usr/local/bin/kube-proxy"
}

# What distroless/cc has: glibc, libgcc, certificates, time zones, a user, and no shell.
# Of this computer's own Debian where it is one: our programs are linked against its glibc.
rootfs_base() {
  local t suite=trixie
  t=$(temp_beside "$1/x")
  # shellcheck disable=SC1091
  case $(. /etc/os-release && echo "$ID:${VERSION_CODENAME:-}") in debian:?*) suite=$(. /etc/os-release && echo "$VERSION_CODENAME") ;; esac
  debian "$suite" "$t/all" libc6 libgcc-s1 ca-certificates tzdata base-files
  mkdir -p "$1"/{etc/ssl/certs,home/nonroot,usr/share,var}
  install -d -m 1777 "$1/tmp"
  cat "$t"/all/usr/share/ca-certificates/mozilla/*.crt > "$1/etc/ssl/certs/ca-certificates.crt"
  cp -a "$t/all/usr/share/zoneinfo" "$1/usr/share/"
  (cd "$t/all" && tar -c $(find . \( -type f -o -type l \) \( -path './lib*/ld-linux*' -o -path '*-linux-gnu/ld-linux*' \
      -o -path '*-linux-gnu/lib[cm].so*' -o -path '*-linux-gnu/libgcc_s.so*' -o -path '*-linux-gnu/libpthread.so*' -o -path '*-linux-gnu/libdl.so*' \
      -o -path '*-linux-gnu/librt.so*' -o -path '*-linux-gnu/libresolv.so*' -o -path '*-linux-gnu/libnss_*' -o -path './etc/nsswitch.conf' \
      -o -path './etc/os-release' -o -path './usr/lib/os-release' -o -path './lib' -o -path './lib64' \) )) | tar -x -C "$1"
  add_user "$1" nonroot 65532
  chown 65532:65532 "$1/home/nonroot"
  rm -rf "$t"
}

rootfs_seata() {
  local t home=$1/seata-server
  debian bookworm "$1" base-files dash coreutils libc-bin openjdk-17-jre-headless
  add_user "$1" seata 999
  ln -sf "../lib/jvm/java-17-openjdk-$ARCH/bin/java" "$1/usr/bin/java"
  : > "$1/etc/ld.so.cache"
  mkdir -p "$home"/{lib/jdbc,target,ext,logs}
  chmod 1777 "$home/logs"
  t=$(temp_beside "$1/x")
  cp "$IMAGES_DIR/seata/pom.xml" "$t/"
  mvn -B -q -f "$t/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$home/lib"
  # A proprietary driver, other systems' native code, and the agent, which no class path may name.
  rm -f "$home"/lib/DmJdbcDriver18-* "$home"/lib/*-osx-* "$home"/lib/*-macos-*
  mv "$home"/lib/jmx_prometheus_javaagent-*.jar "$home/ext/jmx_prometheus_javaagent.jar"
  mv "$home"/lib/mysql-connector-j-*.jar "$home/lib/jdbc/"
  cp "$IMAGES_DIR/seata/jmx.yml" "$home/ext/"
  thin_jar "$home"
  # The JDK's own class archive: the package's script makes it; without it each start loads 1300 classes the slow way.
  # (The launcher finds its libraries through /proc: mounted in a namespace that ends with the command.)
  # shellcheck disable=SC2016
  unshare -m sh -c 'mount --bind /proc "$1/proc" && exec chroot "$1" /usr/bin/java -Xshare:dump' - "$1" > /dev/null
  rm -rf "$t"
}

# The upstream image has an executable jar here. Ours holds a manifest alone that names the others: the same command starts both.
thin_jar() (
  cd "$1/target"
  mkdir META-INF
  {
    echo "Manifest-Version: 1.0"
    echo "Main-Class: io.seata.server.ServerApplication"
    # A manifest's lines end at 72 bytes; the next one goes on after a blank.
    (cd ../lib && printf 'Class-Path:'; printf ' ../lib/%s' *.jar jdbc/*.jar) | fold -b -w 71 | sed '2,$s/^/ /'
    echo
  } > META-INF/MANIFEST.MF
  zip -q -X seata-server.jar META-INF/MANIFEST.MF
  rm -r META-INF
)

# rootfs NAME HASH: its folder, made if need be.
rootfs() {
  local out=$CACHE/rootfs/$1-$2 t
  if [ ! -d "$out" ]; then
    t=$(temp_beside "$out")
    step "assemble the files of $1" "rootfs_$1" "$t/root"
    touch "$t/root"   # its time is the archive's; keep_newest goes by it
    mv "$t/root" "$out"
    rm -rf "$t"
    keep_newest 1 "$CACHE/rootfs/$1-"*
  fi
}

recipe() { hash_of "$ARCH" "$(declare -f pack debian add_user "rootfs_$1")" "$SHELL_TOOLS" "${@:2}"; }

# --- images -------------------------------------------------------------------
# image LIST NAME HASH REFERENCE COMMAND...: runs COMMAND ARCHIVE unless the archive exists, and notes it in the list.
image() {
  local list=$1 name=$2 out=$STORE/$2-$3.tar ref=$4
  shift 4
  mkdir -p "$STORE"
  if [ ! -f "$out" ]; then
    step "image $ref" "$@" "$ref" "$out"
    say "  $ref: $(megabytes "$out")"
    keep_newest 3 "$STORE/$name-"*.tar
  fi
  touch "$out"
  echo "$ref $out" >> "$list.tmp"
}

finish_list() { mv "$1.tmp" "$1"; }

pack_rootfs() { pack "$CACHE/rootfs/$1" "$3" "$4" "$2"; }

pack_program() {   # PROGRAM CONFIG-EXTRA REFERENCE ARCHIVE
  local t
  t=$(temp_beside "$4")
  install -D "$BIN/$1" "$t/usr/local/bin/$1"
  install -d -m 1777 "$t/tmp"
  pack "$t" "$3" "$4" "{\"Env\":[$PATH_ENV],\"Entrypoint\":[\"/usr/local/bin/$1\"]}"
  rm -rf "$t"
}

pack_pause() {
  local t
  t=$(temp_beside "$2")
  install -D /usr/bin/catatonit "$t/pause"
  pack "$t" "$1" "$2" '{"Entrypoint":["/pause","-P"]}'
  rm -rf "$t"
}

node_images() {
  BIN=$1
  local list=$STORE/node.list b h
  h=$(hash_of "$(basename "$BIN")" "$ARCH" "$(declare -f pack pack_program)")
  mkdir -p "$STORE"
  rm -f "$list.tmp"
  image "$list" pause "$(hash_of /usr/bin/catatonit)" "registry.k8s.io/pause:$PAUSE_VERSION" pack_pause
  for b in kube-apiserver kube-controller-manager kube-scheduler; do
    image "$list" $b "$h" "registry.k8s.io/$b:$K8S_VERSION" pack_program $b ""
  done
  image "$list" etcd "$h" "registry.k8s.io/etcd:${ETCD_VERSION#v}-0" pack_program etcd ""
  image "$list" coredns "$h" "registry.k8s.io/coredns/coredns:$COREDNS_VERSION" pack_program coredns ""
  image "$list" metrics-server "$h" "registry.k8s.io/metrics-server/metrics-server:$METRICS_SERVER_VERSION" pack_program metrics-server ""
  image "$list" local-path-provisioner "$h" "docker.io/rancher/local-path-provisioner:$LOCAL_PATH_VERSION" pack_program local-path-provisioner ""
  h=$(recipe kube_proxy "$h" "$(iptables -V)")
  rootfs kube_proxy "$h"
  image "$list" kube-proxy "$h" "registry.k8s.io/kube-proxy:$K8S_VERSION" pack_rootfs "kube_proxy-$h" "{\"Env\":[$PATH_ENV]}"
  finish_list "$list"
}

mysql_hash() { recipe mysql; }

store_images() {
  local list=$STORE/stores.list h
  mkdir -p "$STORE"
  rm -f "$list.tmp"
  h=$(mysql_hash)
  rootfs mysql "$h"
  image "$list" mysql "$h" $MYSQL_IMAGE pack_rootfs "mysql-$h" "{\"Env\":[$PATH_ENV],\"User\":\"999:999\",\"Cmd\":[\"mysqld\"]}"
  h=$(recipe redis)
  rootfs redis "$h"
  image "$list" redis "$h" $REDIS_IMAGE pack_rootfs "redis-$h" "{\"Env\":[$PATH_ENV],\"User\":\"999:999\",\"Cmd\":[\"redis-server\"],\"WorkingDir\":\"/data\"}"
  h=$(recipe seata "$IMAGES_DIR/seata/pom.xml" "$IMAGES_DIR/seata/jmx.yml" "$(declare -f thin_jar)")
  rootfs seata "$h"
  image "$list" seata "$h" $SEATA_IMAGE pack_rootfs "seata-$h" "{\"Env\":[$PATH_ENV],\"User\":\"999:999\",\"Cmd\":[\"java\",\"-jar\",\"/seata-server/target/seata-server.jar\"],\"WorkingDir\":\"/seata-server\"}"
  finish_list "$list"
}

# --- ours ---------------------------------------------------------------------
# A storage of our own: buildah's default one may be somebody's.
in_buildah() { buildah --root "$CACHE/buildah" --runroot "$CACHE/buildah-run" --storage-driver overlay "$@"; }

base_image() {   # HASH
  local ref=localhost/payment-base:$1
  rootfs base "$1"
  in_buildah inspect --type image "$ref" > /dev/null 2>&1 && return
  pack "$CACHE/rootfs/base-$1" "$ref" "$STORE/base-$1.tar" "{\"Env\":[$PATH_ENV,\"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\"],\"User\":\"65532:65532\",\"WorkingDir\":\"/home/nonroot\"}"
  in_buildah pull -q "docker-archive:$STORE/base-$1.tar"
  rm "$STORE/base-$1.tar"
}

pack_product() {   # NAME BASE REFERENCE ARCHIVE
  local t
  t=$(temp_beside "$4")
  cp "$PRODUCT_BIN/$1" "$t/"
  in_buildah bud -q --isolation chroot --pull-never --timestamp 0 --build-arg "BASE=localhost/payment-base:$2" \
    -f "$IMAGES_DIR/$1/Dockerfile" -t "$3" "$t"
  in_buildah push -q "$3" "docker-archive:$t/image.tar:$3"
  in_buildah rmi -f "$3"
  mv "$t/image.tar" "$4"
  rm -rf "$t"
}

version_of() { sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$PROJECT/Cargo.toml"; }

product_reference() { echo "paymentsystem.dev/$1:$(version_of)-$(hash_of "$PRODUCT_BIN/$1" "$IMAGES_DIR/$1/Dockerfile" "${2:-}")"; }

write_images_env() {   # BASE-HASH
  write "$LOCAL/images.env" << ENV
OPERATOR_IMAGE=$(product_reference payment-operator "$1")
RUNTIME_IMAGE=$(product_reference payment-runtime "$1")
SIMULATOR_IMAGE=$(product_reference channel-simulator "$1")
MYSQL_IMAGE=$MYSQL_IMAGE
REDIS_IMAGE=$REDIS_IMAGE
SEATA_IMAGE=$SEATA_IMAGE
ENV
}

cargo_build() {
  # PRODUCT_BIN: a folder of programs built elsewhere.
  [ -z "${PRODUCT_BIN:-}" ] || return 0
  # shellcheck disable=SC2046
  (cd "$PROJECT" && step "cargo build --release (about 8 minutes the first time)" cargo build --release --locked $(printf ' -p %s' $PRODUCT))
  PRODUCT_BIN=${CARGO_TARGET_DIR:-$PROJECT/target}/release
}

product_images() {
  local list=$STORE/product.list base b ref
  cargo_build
  mkdir -p "$STORE"
  rm -f "$list.tmp"
  base=$(recipe base "$(cat /etc/os-release)")
  base_image "$base"
  for b in $PRODUCT; do
    ref=$(product_reference "$b" "$base")
    image "$list" "$b" "${ref##*-}" "$ref" pack_product "$b" "$base"
  done
  finish_list "$list"
  write_images_env "$base"
}

docker_product_images() {
  local b ref
  cargo_build
  for b in $PRODUCT; do
    ref=$(product_reference "$b")
    step "docker build $ref" docker build -q -f "$IMAGES_DIR/$b/Dockerfile" -t "$ref" --build-arg "BINARY=$b" "$PRODUCT_BIN"
  done
  write_images_env ""
}

case ${1:-} in
  node) node_images "$2" ;;
  stores) store_images ;;
  product) product_images ;;
  docker) docker_product_images ;;
  rootfs) echo "$CACHE/rootfs/mysql-$(mysql_hash)" ;;
  *) die "usage: images.sh node BIN | stores | product | docker | rootfs" ;;
esac
