# shellcheck shell=bash
# Installs what the stages need beyond a checkout and Rust. Sourced by tests/run.
#
# Each function succeeds if its tool is available afterwards. Output goes to the log of the calling stage.

awscli=1.46.3
boto3=1.44.5 # 1.44.1 is the first whose model has rpc-v2-cbor and error statuses
node_js=20.19.0 # used if the machine's is older
cargo_deny=0.20.2
cargo_mutants=27.1.0 # for tests/mutants
go_toolchain=1.26.8 # used if the machine's is too old
dnspython=2.9.2
moto=5.2.5 # tests/bench/http compares with it
: "${HOME:=$(getent passwd "$(id -u)" | cut -d: -f6)}"
export HOME
cache=${XDG_CACHE_HOME:-$HOME/.cache}/sd
aws_bin=$cache/awscli/bin
PATH=$PATH:/usr/sbin:/sbin # `ip` is there; not every user's PATH has it

# need_tools COMMAND=PACKAGE...: installs missing commands from Debian or Ubuntu packages.
need_tools() {
  local tool packages=()
  for tool in "$@"; do
    type -P "${tool%=*}" >/dev/null || packages+=("${tool#*=}")
  done
  [ "${#packages[@]}" = 0 ] || apt_install "${packages[@]}"
}

apt_install() {
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
  type -P apt-get >/dev/null || return
  [ "$(id -u)" = 0 ] || apt=(sudo -n "${apt[@]}")
  logged "${apt[@]}" update && logged "${apt[@]}" install -y --no-install-recommends "$@"
}

# rustup looks for toolchains under HOME. If HOME was changed, they are near the cargo on PATH.
need_rust() {
  local cargo home
  cargo=$(type -P cargo) || return
  cargo --version >/dev/null 2>&1 && return
  for home in "$(dirname "$(readlink -f "$cargo")")/../.." "$(getent passwd "$(id -u)" | cut -d: -f6)"; do
    if RUSTUP_HOME=$home/.rustup cargo --version >/dev/null 2>&1; then
      RUSTUP_HOME=$(cd "$home/.rustup" && pwd)
      export RUSTUP_HOME
      return
    fi
  done
  return 1
}

# Sets `python` to a Python 3.9 or newer with venv. The first one on PATH may not do: Debian's python3 lacks venv without
# python3-venv, and a version manager's shim may not work at all.
need_python() {
  local attempt
  for attempt in 1 2; do
    for python in python3 /usr/bin/python3 /usr/local/bin/python3; do
      "$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 && return
    done
    [ "$attempt" = 2 ] || apt_install python3 python3-venv || break
  done
  return 1
}

need_awscli() {
  local version
  version=$("$aws_bin/aws" --version 2>&1) && [[ $version == "aws-cli/$awscli "* ]] && return
  need_python && rm -rf "$cache/awscli" && mkdir -p "$cache" &&
    logged "$python" -m venv "$cache/awscli" &&
    logged "$aws_bin/python" -m pip install --quiet "awscli==$awscli"
}

# need_module MODULE VERSION [PACKAGE]: installs this version of a Python module in its own virtual environment.
need_module() {
  local found venv=$cache/$1
  found=$("$venv/bin/python" -c "import $1; print($1.__version__)" 2>&1) && [ "$found" = "$2" ] && return
  need_python && rm -rf "$venv" && mkdir -p "$cache" &&
    logged "$python" -m venv "$venv" && logged "$venv/bin/python" -m pip install --quiet "${3:-$1}==$2"
}

need_boto3() {
  need_module boto3 "$boto3"
}

need_dnspython() {
  need_module dns "$dnspython" dnspython
}

need_moto() {
  need_module moto "$moto" 'moto[server]'
}

need_cargo_deny() {
  local version
  version=$("$cache/cargo-deny/bin/cargo-deny" --version 2>&1) && [ "$version" = "cargo-deny $cargo_deny" ] && return
  logged cargo install --locked --quiet --root "$cache/cargo-deny" --version "$cargo_deny" cargo-deny
}

need_cargo_mutants() {
  local version
  version=$("$cache/cargo-mutants/bin/cargo-mutants" mutants --version 2>&1) && [ "$version" = "cargo-mutants $cargo_mutants" ] && return
  logged cargo install --locked --quiet --root "$cache/cargo-mutants" --version "$cargo_mutants" cargo-mutants
}

# Sets `go` to a Go that the client's go.mod allows. If the distribution's Go is too old, downloads a toolchain, which is a
# Go module. Modules have no executable files, so chmod restores these.
need_go() {
  local version oldest
  type -P go >/dev/null || apt_install golang-go ca-certificates || return
  go=$(type -P go)
  export GOTOOLCHAIN=local GOPATH=$cache/go/path GOCACHE=$cache/go/build CGO_ENABLED=0
  export GOFLAGS='-mod=readonly -modcacherw -buildvcs=false'
  oldest=$(sed -n 's/^go //p' tests/clients/go/go.mod)
  version=$("$go" env GOVERSION) || return
  if [ "$(printf '%s\n' "$oldest" "${version#go}" | sort -V | head -n 1)" != "$oldest" ]; then
    version=v0.0.1-go$go_toolchain.$("$go" env GOOS)-$("$go" env GOARCH)
    logged "$go" mod download "golang.org/toolchain@$version" || return
    export GOROOT=$GOPATH/pkg/mod/golang.org/toolchain@$version
    go=$GOROOT/bin/go
    chmod +x "$GOROOT"/bin/* "$GOROOT"/pkg/tool/*/* || return
  fi
}

# The modules of the Go client.
need_go_client() {
  need_go && logged "$go" -C tests/clients/go mod download
}

# The libraries of the Java client. Maven copies them when pom.xml has changed.
need_java() {
  need_tools javac=default-jdk-headless mvn=maven || return
  cmp -s tests/clients/java/pom.xml "$cache/java/pom.xml" && return
  rm -rf "$cache/java" && mkdir -p "$cache/java" &&
    logged mvn -q -B -f tests/clients/java/pom.xml "-Dmaven.repo.local=$cache/maven" \
      dependency:copy-dependencies "-DoutputDirectory=$cache/java/lib" &&
    cp tests/clients/java/pom.xml "$cache/java/"
}

# Sets `node` to a Node.js that the client's package.json allows, and `npm`. If the distribution's Node.js is too old, installs
# one from npm.
need_node() {
  local major package
  npm=(npm --silent --no-audit --no-fund --ignore-scripts --cache "$cache/npm")
  type -P node npm >/dev/null || apt_install nodejs npm ca-certificates || return
  node=$(type -P node)
  major=$("$node" -p 'parseInt(process.versions.node)') || return
  if [ "$major" -lt "${node_js%%.*}" ]; then
    package=node-linux-$("$node" -p process.arch)
    node=$cache/node/node_modules/$package/bin/node
    [ "$("$node" --version 2>&1)" = "v$node_js" ] ||
      logged "${npm[@]}" install --no-save --prefix "$cache/node" "$package@$node_js" || return
  fi
}

# The packages of the JavaScript client.
need_js() {
  local lock=tests/clients/js/package-lock.json
  need_node || return
  mkdir -p "$cache/js" && cp tests/clients/js/*.mjs tests/clients/js/package.json "$cache/js/" || return
  cmp -s "$lock" "$cache/js/node_modules/.sd-lock" && return
  cp "$lock" "$cache/js/" && logged "${npm[@]}" ci --prefix "$cache/js" && cp "$lock" "$cache/js/node_modules/.sd-lock"
}

# What the checks with real clients need. Reports what is missing.
need_clients() {
  need_netns || return
  if ! need_tools dig=bind9-dnsutils nslookup=bind9-dnsutils curl=curl; then
    cannot "dig, nslookup or curl is missing and cannot be installed"
  elif ! need_awscli; then
    cannot "the AWS CLI cannot be installed"
  else
    return 0
  fi
  return 1
}

# What checks in a network namespace need. Reports what is missing.
need_netns() {
  if ! need_tools ip=iproute2 unshare=util-linux; then
    cannot "ip or unshare is missing and cannot be installed"
  elif ! need_python; then
    cannot "Python 3.9 or newer with venv is missing"
  elif ! logged tests/lib/netns.sh true; then
    cannot "this user cannot create a network namespace"
  else
    return 0
  fi
  return 1
}
