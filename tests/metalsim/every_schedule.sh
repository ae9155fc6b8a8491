#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything that runs on the software Metal device, lanes and dispatches in forward, reverse and shuffled order, with random graphs and
# random grid programs of other seeds under each order, and every source through its compiler: for a night. A line for each run goes to stdout, its whole output to
# BUILD/every_schedule/. Goes on behind a failure, and ends with 1 where there was one.
set -u
usage() {
    cat <<'TEXT'
usage: tests/metalsim/every_schedule.sh BUILD [option...]

  BUILD          the folder of a release build
  --seed N       the first shuffled order, and where the seeds of random graphs and programs begin (default 1; at most 9000)
  --shuffles N   shuffled orders (default 6)
  --graphs N     random graphs under each order (default 300)
  --programs N   random grid programs under each order (default 2000)
  --selection    what ctest runs as metal.* instead of the whole suites: minutes an order, not hours
  --quick        less than that: random graphs, the kernels and the tokens that ctest runs forward too
  --only ORDER   one order alone: forward, reverse or shuffled:N
TEXT
}
if [ $# -eq 0 ] || [ "$1" = --help ]; then usage; exit 0; fi
build=$(cd "$1" && pwd) || exit 1
shift
seed=1 shuffles=6 graphs=300 programs=2000 part=whole only=""
while [ $# -gt 0 ]; do
    case $1 in
        --selection | --quick) part=${1#--}; shift; continue ;;
        --seed | --shuffles | --graphs | --programs | --only) [ $# -gt 1 ] || { usage >&2; exit 2; } ;;
        *) usage >&2; exit 2 ;;
    esac
    case $1 in
        --seed) seed=$2 ;;
        --shuffles) shuffles=$2 ;;
        --graphs) graphs=$2 ;;
        --programs) programs=$2 ;;
        --only) only=$2 ;;
    esac
    shift 2
done

export INVAR_MODULE_DIR="$build/metalsim-module" INVAR_REQUIRE_METALSIM=1
# On the software device test_graph takes three tenths of what this says.
export INVAR_RANDOM_GRAPHS_ON_DEVICE=$(((graphs * 10 + 2) / 3)) INVAR_GRID_PROGRAMS_ON_DEVICE="$programs"
logs="$build/every_schedule"
mkdir -p "$logs"
failed=0

# run NAME COMMAND...: under the order at hand.
run() {
    name=$1
    shift
    log="$logs/$name-$(echo "$INVAR_METALSIM_SCHEDULE" | tr : -).log"
    begun=$(date +%s)
    if "$@" >"$log" 2>&1; then result=passed; else
        result=FAILED
        failed=1
    fi
    # gtest's last words, or ctest's.
    counts=$(grep -E '^\[ +(PASSED|SKIPPED|FAILED) +\] [0-9]+ test|tests passed|tests failed|^Kept for' "$log" | sed 's/^\[ *\([A-Z]*\) *\]/\1/' | tr -s '\n ' ' ')
    echo "$INVAR_METALSIM_SCHEDULE, $name: $result in $(($(date +%s) - begun)) s: $counts"
    if [ $result = FAILED ]; then tail -n 40 "$log"; fi
}
# suite NAME FILTER: a test binary with Metal as its device. Its case-by-case lines stay in the log.
suite() { run "$1" env INVAR_DEVICE=metal "$build/bin/test_$1" --gtest_filter="$2"; }

under() {
    # Whatever knows the device by name, its own tests and those of what stands below it.
    suite metalsim '*'
    suite metalsim_api '*'
    suite metal '*'
    suite metal_model '*'
    suite program '*metal*:-Languages/*'
    run grids env INVAR_DEVICE=metal "$build/bin/test_backends" --gtest_filter='Devices/RandomGridsOnDevice*metal*'
    suite backends '*etal*:-Devices/RandomGridsOnDevice*'
    case $part in
        whole) for name in graph kernels nn tensor; do suite $name '*'; done ;;
        selection) run selection ctest --test-dir "$build" --no-tests=error -R '^metal[.][a-z]+$' ;;
        quick)
            suite graph 'RandomGraphs.*:Fusion.*'
            suite kernels 'Product.EdgeShapes:Reduce.SeveralChunks:Row.InPlace:Attention.GroupsOfHeads:Attention.Windows:Sampler.Greedy*:Random.*:Gather.*'
            suite nn '*GreedyTokens*'
            ;;
    esac
    # Operators dealt out at random between the cpu and Metal.
    run routed env INVAR_DEVICE=cpu INVAR_ROUTE="random:$begin:metal" "$build/bin/test_tensor" --gtest_filter='*'
}

started=$(date +%s)
orders="forward reverse"
# Every source, whatever the order: through both passes of the compiler.
if [ -z "$only" ]; then
    INVAR_METALSIM_SCHEDULE=none
    run sources env INVAR_METAL_SOURCES_ONE_IN=1 "$build/bin/test_graph" --gtest_filter='MetalSource.*Compile*'
    # What is found says nothing here; that every tile can be measured and one is kept does.
    run tune env INVAR_CACHE_DIR="$logs/tune" "$build/bin/invar" bench kernels --small --tune --device metal
    rm -rf "$logs/tune"
fi
n=0
while [ $n -lt "$shuffles" ]; do
    orders="$orders shuffled:$((seed + n))"
    n=$((n + 1))
done
number=0
for order in $orders; do
    begin=$((seed * 100000 + number * 1000000))
    number=$((number + 1))
    if [ -n "$only" ] && [ "$only" != "$order" ]; then continue; fi
    ran=1
    export INVAR_METALSIM_SCHEDULE="$order" INVAR_RANDOM_GRAPHS_FIRST=$begin INVAR_GRID_FIRST_SEED=$begin
    echo "$order: $graphs random graphs and $programs random grid programs from seed $begin on"
    under
done
if [ -z "${ran:-}" ]; then
    echo "no such order: $only (of $orders)" >&2
    exit 2
fi
echo "$((($(date +%s) - started) / 60)) minutes, $([ $failed = 0 ] && echo 'no failure' || echo 'with failures')"
exit $failed
