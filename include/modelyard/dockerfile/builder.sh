# What the builder's container runs: Buildah, without root, privileges or credentials, for the step beside it.
#
# REQUEST, read-only here, has context/, Dockerfile, bases/N/ (an image layout each), bases/names (of each a line: its name as
# the Dockerfile writes it, and in full) and, last of all, `begin`. RESULT gets log, image/ (manifest and blobs) and, last of all,
# `code`: 0; or the build's own; or 77: it can't work on this node; or 75: something else than the Dockerfile is at fault.
request=$1 result=$2
export HOME=$3 TMPDIR=$3 STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot

ended() { echo "$1" >"$result/.code" && mv "$result/.code" "$result/code"; }

build() {
  # The pod's group owns the volumes; what is built in them is to belong to whom the Dockerfile says.
  umask 022 && mkdir -p "$HOME/storage" "$HOME/run" && chmod g-s "$HOME/storage" "$HOME/run" || return 75
  set -- --root "$HOME/storage" --runroot "$HOME/run"
  buildah "$@" unshare true || return 77
  number=0
  while read -r name full; do
    id=$(buildah "$@" pull --quiet "oci:$request/bases/$number") || return 75
    # Under its whole name it is found where an ARG completes what the Dockerfile writes, by the other where it does not.
    # shellcheck disable=SC2086 # there is none of an image that is named by its digest
    buildah "$@" tag "$id" "localhost/modelyard-base-$number" $full || return 75
    number=$((number + 1))
  done <"$request/bases/names"
  arguments=$(
    number=0
    while read -r name full; do
      printf ' --build-context %s=docker-image://localhost/modelyard-base-%s' "$name" "$number"
      number=$((number + 1))
    done <"$request/bases/names"
  )
  # shellcheck disable=SC2086 # an image's name has no spaces
  buildah "$@" build --pull=never --format oci --layers=false $arguments \
    --file "$request/Dockerfile" --tag localhost/modelyard-built "$request/context" || return
  buildah "$@" push --quiet --disable-compression localhost/modelyard-built "dir:$result/image" || return 75
}

trap 'kill -s KILL -1 2>/dev/null; exit 0' TERM
if [ -e "$result/log" ]; then
  echo "The builder was ended in the middle: perhaps it takes more memory than it may" >>"$result/log"
  ended 75
else
  until [ -e "$request/begin" ]; do
    sleep 0.2 & wait $!
  done
  build >"$result/log" 2>&1 </dev/null &
  wait $!
  ended $?
fi
sleep infinity & wait $!
