# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A private apt over the machine's own mirrors: it verifies signatures and hashes
# as the system's does, and neither reads nor changes what is installed here.

LAB_KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg

# lab_apt COMMAND ARG... : an apt command with all of its state in the cache. The
# machine's apt.conf stays in force, for its proxy settings.
lab_apt() {
	local command=$1 apt=$LAB_CACHE/apt
	shift
	"$command" \
		-o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferences="$apt/preferences" -o Dir::Etc::preferencesparts=/dev/null \
		-o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" \
		-o Dir::Cache="$apt/cache" -o Dir::Cache::archives="$apt/archives" \
		-o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
		-o APT::Architecture=amd64 -o APT::Architectures=amd64 -o APT::Sandbox::User=root \
		-o APT::Install-Recommends=false -o Acquire::Languages=none \
		-o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
		-o APT::Update::Post-Invoke= -o APT::Update::Post-Invoke-Success= "$@"
}

lab_apt_prepare() {
	local apt=$LAB_CACHE/apt suite uri
	[ -e "$LAB_KEYRING" ] || lab_die "$LAB_KEYRING is missing: install debian-archive-keyring"
	lab_find_mirrors
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/cache" "$LAB_CACHE/debs"
	: >"$apt/status"
	for suite in trixie trixie-backports trixie-security bookworm-security bullseye-security; do
		case $suite in
		*-security) uri=$LAB_MIRROR_SECURITY ;;
		*) uri=$LAB_MIRROR ;;
		esac
		echo "deb [signed-by=$LAB_KEYRING] $uri $suite main"
	done >"$apt/sources.list"
	# vfio-user-pci needs QEMU 10.1 or later, and apt never takes a backport unless told
	# to. The older suites serve their kernel only.
	cat >"$apt/preferences" <<-'EOF'
		Package: qemu* seabios* src:qemu src:seabios
		Pin: release n=trixie-backports
		Pin-Priority: 990

		Package: *
		Pin: release n=bookworm-security
		Pin-Priority: 50

		Package: *
		Pin: release n=bullseye-security
		Pin-Priority: 50
	EOF
}

# A suite whose support has ended keeps its last Release file, which then counts as
# expired; that is still the newest there is of that kernel.
lab_apt_update() {
	lab_apt apt-get -q -o Acquire::Check-Valid-Until=false update >&2
}

# From apt's --print-uris ('URI' FILE SIZE HASH) to "FILE SIZE SHA256 URI" lines.
lab_apt_uris() { sed -nE "s/^'([^']+)' ([^ ]+) ([0-9]+) SHA256:([0-9a-f]+).*/\2 \3 \4 \1/p"; }

# lab_apt_closure PACKAGE... : the packages and all they depend on, as such lines. In
# two steps, because install's --print-uris gives an MD5 where download's gives SHA256.
lab_apt_closure() {
	local versions
	mapfile -t versions < <(lab_apt apt-get -qq -s install "$@" |
		sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1=\2/p')
	[ ${#versions[@]} -gt 0 ] || return 1
	lab_apt apt-get -qq download --print-uris "${versions[@]}" | lab_apt_uris
}

# lab_apt_kernel SUITE: the suite's newest kernel image with its modules and headers,
# as such lines. Only packages of the kernel itself are followed: its image also
# depends on an initramfs builder, and its headers on that suite's compiler.
lab_apt_kernel() {
	local suite=$1 version queue=(linux-image-amd64 linux-headers-amd64) wanted=() seen=' ' package
	version=$(lab_apt apt-get -qq download --print-uris "linux-image-amd64/$suite" |
		lab_apt_uris | sed -nE 's/^linux-image-amd64_([^_]+)_amd64\.deb .*/\1/p')
	version=${version//%3a/:}
	[ -n "$version" ] || return 1
	while [ ${#queue[@]} -gt 0 ]; do
		package=${queue[0]}
		queue=("${queue[@]:1}")
		case $seen in *" $package "*) continue ;; esac
		seen+="$package "
		case $package in linux-*-amd64-* | *-[0-9]*) wanted+=("$package=$version") ;; esac
		mapfile -t -O ${#queue[@]} queue < <(lab_apt apt-cache show "$package=$version" |
			sed -nE 's/^Depends: //p' | tr ',' '\n' | sed -E 's/^ //; s/[ (|].*//' |
			grep -E '^linux-(image|binary|modules|base|headers|kbuild)-[0-9]')
	done
	lab_apt apt-get -qq download --print-uris "${wanted[@]}" | lab_apt_uris
}

lab_deb_whole() { # FILE SIZE SHA256
	[ -f "$1" ] && [ "$(stat -c %s "$1")" = "$2" ] && echo "$3  $1" | sha256sum -c --status
}

# lab_apt_fetch LIST: brings every package of LIST into the cache. What is there
# already is checked and kept, so an interrupted fetch goes on where it was.
lab_apt_fetch() {
	local list=$1 file size sha uri debs=$LAB_CACHE/debs get=() part
	while read -r file size sha uri; do
		part=$debs/$file.part
		lab_deb_whole "$debs/$file" "$size" "$sha" && continue
		if lab_deb_whole "$part" "$size" "$sha"; then
			mv "$part" "$debs/$file"
		else
			get+=("$uri" "$part" "SHA256:$sha")
		fi
	done <"$list"
	[ ${#get[@]} -gt 0 ] || return 0
	lab_apt /usr/lib/apt/apt-helper download-file "${get[@]}" >&2 ||
		lab_die "fetching failed; run the same command again, it goes on where it was"
	while read -r file _; do
		[ ! -f "$debs/$file.part" ] || mv "$debs/$file.part" "$debs/$file"
	done <"$list"
}

# lab_apt_missing LIST: how many bytes of LIST are not in the cache.
lab_apt_missing() {
	local sum=0 file size
	while read -r file size _; do
		[ -f "$LAB_CACHE/debs/$file" ] || sum=$((sum + size))
	done <"$1"
	echo "$sum"
}
