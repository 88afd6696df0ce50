#!/bin/bash
# Makes ready what tests of the Seata client run beside it, from Maven Central, each once per content, in the cache:
# the jars of real servers, and the Java peer built against both generations of Seata's own client.
# Prints their folders as lines for an environment file. A folder is a class path: java -cp 'FOLDER/*'.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PEER=$PROJECT/crates/seata-client/java
STORE=$CACHE/seata

# Maven builds with the Java that has a compiler, whichever one `java` is.
maven() { JAVA_HOME=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")") mvn -B "$@"; }

# Other systems' native code, and a proprietary driver.
drop_unused() { rm -f "$1"/*-osx-* "$1"/*-macos-* "$1"/DmJdbcDriver18-*; }

server_jars() {   # FOLDER VERSION
  maven -f "$IMAGES_DIR/seata/pom.xml" -Dseata.version="$2" \
    dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$1"
  drop_unused "$1"
}

# The sources name the packages of org.apache.seata; up to 2.0 they were called io.seata.
peer_jars() {   # FOLDER VERSION GROUP
  local t
  t=$(temp_beside "$1/x")
  cp -r "$PEER/pom.xml" "$PEER/src" "$t/"
  find "$t/src" -name '*.java' -exec sed -i "s/org\.apache\.seata/$3/g" {} +
  maven -f "$t/pom.xml" -Dseata.group="$3" -Dseata.version="$2" package
  mv "$t"/target/lib/*.jar "$t"/target/java-peer-*.jar "$1/"
  rm -rf "$t"
  drop_unused "$1"
}

# made NAME HASH COMMAND [ARGUMENT...]: prints the folder, after COMMAND FOLDER ARGUMENT... has filled it if need be.
made() {
  local name=$1 out=$STORE/$1-$2 t
  shift 2
  if [ ! -d "$out" ]; then
    t=$(temp_beside "$out")
    mkdir "$t/jars"
    step "jars of Seata $name" "$1" "$t/jars" "${@:2}" >&2
    mv "$t/jars" "$out"
    rm -rf "$t"
    keep_newest 2 "$STORE/$name-"*
  fi
  echo "$out"
}

server() { made "server-$1" "$(hash_of "$IMAGES_DIR/seata/pom.xml" "$(declare -f server_jars drop_unused)")" server_jars "$1"; }

peer() {   # VERSION GROUP
  local sources
  mapfile -t sources < <(find "$PEER/pom.xml" "$PEER/src" -type f | sort)
  made "peer-$1" "$(hash_of "${sources[@]}" "$(declare -f peer_jars drop_unused)")" peer_jars "$@"
}

s18=$(server 1.8.0)
s20=$(server 2.0.0)
p20=$(peer 2.0.0 io.seata)
p26=$(peer 2.6.0 org.apache.seata)
cat << ENV
SEATA_1_8=$s18
SEATA_2_0=$s20
SEATA_PEER_2_0=$p20
SEATA_PEER_2_6=$p26
ENV
