# shellcheck shell=bash
#
# lib.sh: what the scripts of test/ share: packages, build, and a throw-away
# cluster.  Sourced, not run.
#
# Everything that a run makes lies in the directory $work, and all of it is
# gone at the end, however the run ends.  PG_CONFIG, if set, names another
# PostgreSQL to build for and to run; otherwise it is Debian's package of the
# usual release.

set -eu

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=
suite_pid=
busy_pid=
cluster_conf=

# Nothing from outside may steer make or reach another server.
unset CDPATH MAKEFLAGS MAKELEVEL MFLAGS
for variable in $(compgen -e PG); do
	[ "$variable" = PG_CONFIG ] || unset "$variable"
done
export LC_ALL=C PGCLIENTENCODING=UTF8
umask 022

# The releases of PostgreSQL that the extension is for, and the one that the
# tests run if nobody says which.
# shellcheck disable=SC2034 # not all of them in each script
releases=(15 16 17 18 19)
usual_release=15
# the exit status of test/release where a release is not to be had
not_there=69

own_pg_config=${PG_CONFIG:+yes}
export PG_CONFIG=${PG_CONFIG:-/usr/lib/postgresql/$usual_release/bin/pg_config}

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Runs a command that nobody wants to hear of, unless it fails.
quietly()
{
	local output

	if ! output=$("$@" 2>&1 </dev/null); then
		printf '%s\n' "$output" >&2
		die "failed: $*"
	fi
}

# The same for one that takes minutes: each 15 seconds it says that it lives.
patiently()
{
	(while sleep 15 >/dev/null 2>&1; do echo "[$SECONDS s] still busy" >&2; done) &
	busy_pid=$!
	quietly "$@"
	kill "$busy_pid"
	wait "$busy_pid" || true
	busy_pid=
}

as_root()
{
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root or sudo is needed for: $*"
	fi
}

give_to_user()
{
	if [ "$(id -u)" = 0 ]; then
		chown -R nobody "$1"
	fi
}

# install_missing PACKAGE...: those, and what the build and the server need.
install_missing()
{
	local package missing=()

	set -- gcc libc6-dev make uuid-dev "$@"
	[ -n "$own_pg_config" ] || set -- "$@" \
		"postgresql-$usual_release" "postgresql-server-dev-$usual_release"

	if command -v dpkg-query >/dev/null; then
		for package; do
			dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
				grep -qx installed || missing+=("$package")
		done
	fi
	if [ ${#missing[@]} -gt 0 ]; then
		echo "installing ${missing[*]} with apt, which takes a minute or two: see /var/log/apt/term.log" >&2
		quietly as_root apt-get -q update

		# a server that is new on this machine gets no cluster of its own
		cluster_conf=/etc/postgresql-common/createcluster.d/wallet_projection.conf
		quietly as_root mkdir -p "${cluster_conf%/*}"
		quietly as_root sh -c "echo 'create_main_cluster = false' >$cluster_conf"
		patiently as_root env DEBIAN_FRONTEND=noninteractive \
			apt-get -q -y install --no-install-recommends "${missing[@]}"
		restore_cluster_conf
	fi

	PG_CONFIG=$(command -v "$PG_CONFIG") ||
		die "there is no $PG_CONFIG: set PG_CONFIG to the server's pg_config"
	PATH=$("$PG_CONFIG" --bindir):$PATH
}

# Where this machine gets its own packages from, or everybody, if it has another
# system.
debian_mirror()
{
	local mirror attempt

	for attempt in 1 2; do
		# shellcheck disable=SC2016
		mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
			'Label: Debian' 'Component: main' | head -n 1)
		[ -z "$mirror" ] || break
		[ "$attempt" = 2 ] || (as_root apt-get -q update) >&2 || true
	done
	echo "${mirror:-http://deb.debian.org/debian}"
}

# use_debian DIRECTORY DEBIAN...: in $apt_options, what lets apt-get look only
# at these Debians, with lists of its own in the directory.
use_debian()
{
	local apt=$1 mirror

	mirror=$(debian_mirror)
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	printf "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror %s main\n" \
		"${@:2}" >"$apt/sources.list"
	apt_options=(-q -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o Dir::State="$apt" -o Dir::State::status=/dev/null -o Dir::Cache="$apt/cache"
		-o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3
		-o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)
}

# Where Debian systems are kept that test/release and test/package have made.
# shellcheck disable=SC2034
cache=${WALLET_PROJECTION_CACHE:-/var/cache/wallet_projection}

# make_debian SYSTEM CODENAME: a directory with a Debian, from the mirror of
# this machine's.  Needs root.
make_debian()
{
	local mirror proxy

	command -v debootstrap >/dev/null || {
		apt-get -q update
		DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends debootstrap || return
	}
	mirror=$(debian_mirror)
	eval "$(apt-config shell proxy Acquire::http::Proxy)"
	rm -rf --one-file-system "$1"
	# the script of one Debian serves for those that debootstrap does not know
	env ${proxy:+"http_proxy=$proxy"} debootstrap --variant=minbase "$2" "$1" \
		"$mirror" /usr/share/debootstrap/scripts/sid || return
	apt-config dump | grep '^Acquire::\(http\|https\|Check\|Retries\)' >"$1/etc/apt/apt.conf.d/99host" || true

	# servers are started by hand, and a new one gets no cluster
	printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
	chmod +x "$1/usr/sbin/policy-rc.d"
	mkdir -p "$1/etc/postgresql-common/createcluster.d"
	echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.d/none.conf"
}

# inside SYSTEM COMMAND...: as root there, with a /proc and terminals, which go
# with it.
inside()
{
	# shellcheck disable=SC2016
	unshare --mount --pid --fork --kill-child --mount-proc="$1/proc" \
		sh -c 'mount -t devpts -o newinstance,ptmxmode=0666 devpts "$0/dev/pts" && exec chroot "$0" "$@"' \
		"$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
		DEBIAN_FRONTEND=noninteractive "${@:2}"
}

# apt_install SYSTEM PACKAGE...
apt_install()
{
	inside "$1" apt-get -q -y install --no-install-recommends "${@:2}"
}

restore_cluster_conf()
{
	if [ -n "$cluster_conf" ]; then
		as_root rm -f "$cluster_conf" 2>/dev/null
		cluster_conf=
	fi
}

# The C sources, below the current directory.
c_files()
{
	find src test -name '*.[ch]' -not -path '*/tmp_check*' -type f | sort
}

make_in()
{
	make -s -C "$1" "PG_CONFIG=$PG_CONFIG" "${@:2}"
}

# build TREE [MAKE ARGUMENT...]
build()
{
	local server

	# objects made for another server are of no use
	server=$("$PG_CONFIG" --version --pkglibdir)
	if [ "$server" != "$(cat "$1/.built_for" 2>/dev/null)" ]; then
		make_in "$1" clean
		printf '%s\n' "$server" >"$1/.built_for"
	fi
	make_in "$1" -j2 "${@:2}" all
}

install_built()
{
	if [ -w "$("$PG_CONFIG" --pkglibdir)" ]; then
		make_in "$1" install
	elif ! installed_already "$1"; then
		as_root make -s -C "$1" "PG_CONFIG=$PG_CONFIG" install
	fi
}

installed_already()
{
	local file extension

	extension=$("$PG_CONFIG" --sharedir)/extension
	cmp -s "$1/wallet_projection.so" "$("$PG_CONFIG" --pkglibdir)/wallet_projection.so" || return
	for file in "$1"/wallet_projection.control "$1"/sql/*.sql; do
		cmp -s "$file" "$extension/${file##*/}" || return
	done
}

# A new $work, and it is the current directory: the user may not be allowed
# to look at the one that the caller is in.  "${as_user[@]}" before a command
# runs it as the user, who is the caller or, since PostgreSQL refuses to run
# as root, `nobody` (not `postgres`, whom a cluster of this machine may know
# as its superuser).
make_work_directory()
{
	work=$(mktemp -d /tmp/wallet_projection.XXXXXX)
	as_user=(env HOME="$work" TMPDIR="$work")
	if [ "$(id -u)" = 0 ]; then
		as_user=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups
			"${as_user[@]}" USER=nobody LOGNAME=nobody)
	fi
	give_to_user "$work"
	cd "$work"
}

start_cluster()
{
	quietly "${as_user[@]}" initdb -D "$work/data" -U postgres -A trust \
		--no-sync --no-locale -E UTF8
	cat >>"$work/data/postgresql.conf" <<-END
		listen_addresses = ''
		unix_socket_directories = '$work'
		port = 5432
		fsync = off
		shared_buffers = 128MB
		max_prepared_transactions = 10
	END
	quietly "${as_user[@]}" pg_ctl -D "$work/data" -l "$work/server.log" -w start
	export PGHOST="$work" PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

# Every cluster in $work: the one above and those that tests started.
stop_clusters()
{
	local pid_file

	find "$work" -name postmaster.pid | while read -r pid_file; do
		"${as_user[@]}" pg_ctl -D "${pid_file%/*}" -m immediate -w stop
	done
}

clean_up()
{
	trap '' INT TERM HUP
	if [ -n "$suite_pid" ]; then
		kill "$suite_pid" || true
		wait "$suite_pid" || true
	fi
	[ -z "$busy_pid" ] || kill "$busy_pid" || true
	restore_cluster_conf
	if [ -n "$work" ]; then
		stop_clusters || true
		cd /
		rm -rf "$work"
	fi
} >/dev/null 2>&1

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
