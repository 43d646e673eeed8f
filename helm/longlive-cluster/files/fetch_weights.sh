# sh fetch_weights.sh PLAN TARGET: fetches what PLAN/plan lists into TARGET and checks it against PLAN/FOLDER.sha256.
# Pods that share TARGET wait for each other; what is there and was checked against the same sums is left alone.
set -eu
plan=$1
target=$2

exec 9>"$target/.fetching"
flock 9
while read -r repository revision folder; do
    sums=$plan/$folder.sha256
    checked=$target/$folder/.checked
    if [ -f "$checked" ] && cmp -s "$sums" "$checked"; then
        continue
    fi
    echo "weights: fetching $repository at $revision into $target/$folder"
    # shellcheck disable=SC2046 # one argument for each file's name, which has no spaces
    hf download "$repository" $(cut -c 67- "$sums") --revision "$revision" --local-dir "$target/$folder" </dev/null
    if ! (cd "$target/$folder" && sha256sum --check --strict --quiet "$sums"); then
        echo "weights: $target/$folder is not what weights.downloads says; correct the sums, or delete the folder" >&2
        exit 1
    fi
    cp "$sums" "$checked"
done <"$plan/plan"
