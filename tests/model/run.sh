#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# run.sh [--deep] [NAME...] - check the models, and that their broken twins fail
#
# Each line of the table is a model with what is defined in it.  One that is to hold
# must be searched to its end without an error; one that is to fail must be refuted
# by an assertion in the model, or it proves nothing about the rest.  With --deep also
# the lines marked so, which take minutes and some gigabytes.  NAME picks models.
set -uo pipefail

for program in spin gcc; do
	command -v "$program" >/dev/null || {
		echo "SKIP: no $program here"
		exit 77
	}
done
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

deep=false
if [ "${1-}" = --deep ]; then
	deep=true
	shift
fi
only=" $* "

# verdict | model | defined in it | what it shows
table='
holds | bell    | WRITER_BARRIER COMMITS=2 PAIR=5              | no lost wake-up, barrier in the writer
holds | bell    | SLEEPER_BARRIER COMMITS=2 PAIR=3             | no lost wake-up, barrier in the sleeper
holds | bell    | SLEEPER_BARRIER COMMITS=1                    | likewise, all pairs of sleepers
deep  | bell    | WRITER_BARRIER COMMITS=2                     | likewise, more commits
deep  | bell    | SLEEPER_BARRIER COMMITS=2                    | likewise, more commits
holds | bell    | WRITER_BARRIER ALONE COMMITS=3               | no lost wake-up, one sleeper, more commits
holds | bell    | WRITER_BARRIER ALONE COMMITS=2 COUNT BOUND=2 | no wake-up for nothing without bound
deep  | bell    | WRITER_BARRIER COMMITS=3 PAIR=1              | likewise, three of them
deep  | bell    | SLEEPER_BARRIER COMMITS=3 PAIR=1             | likewise
fails | bell    | COMMITS=2                                    | no barrier at all
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_SLEEP_ON_HEAD  | sleeping on head
fails | bell    | SLEEPER_BARRIER COMMITS=2 TWIN_SLEEP_ON_HEAD | sleeping on head, barrier in the sleeper
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_ADD_FIRST      | the counter moves before the bell is cleared
fails | bell    | SLEEPER_BARRIER COMMITS=2 TWIN_ADD_FIRST     | likewise, barrier in the sleeper
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_NO_SECOND_LOOK | no second look at the ring
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_WAKE_FIRST     | waking before publishing
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_LATE_VALUE     | the counter is read after the second look
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_NO_ADD         | no counter moves
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_FORGET_REST    | whom the writer did not wake is forgotten
fails | bell    | WRITER_BARRIER COMMITS=1 PAIR=4 TWIN_NO_ANY  | sleepers of all topics are overlooked
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_NEVER_SLEEPS   | canary: somebody sleeps
fails | bell    | WRITER_BARRIER COMMITS=2 TWIN_NEVER_WOKEN    | canary: somebody is woken
fails | bell    | WRITER_BARRIER ALONE COMMITS=2 COUNT BOUND=1 | canary: the bound is a tight one
holds | sweep   | COMMITS=4                                    | the sweep forgets nobody
fails | sweep   | TWIN_NO_BARRIER                              | the note is read before the event is visible
fails | sweep   | TWIN_LATE_IDLE                               | idle is said after the round
fails | sweep   | TWIN_LATE_KICK                               | the kick is read after the round
fails | sweep   | TWIN_NO_KICK                                 | an idle keeper is left alone
fails | sweep   | TWIN_WAKE_ONLY                               | the sweep moves no word
fails | sweep   | TWIN_NEVER_IDLE                              | canary: the keeper sleeps
holds | commit  | KILLS=1                                      | whole transactions, a writer killed anywhere
deep  | commit  | KILLS=2                                      | two of them, the second in its recovery too
deep  | commit  | KILLS=1 SEQS=9                               | slots are reused twice
fails | commit  | KILLS=1 TWIN_FIRST_FIRST                     | the first slot is published first
fails | commit  | KILLS=1 TWIN_HEAD_FIRST                      | head goes before the slots
fails | commit  | KILLS=1 TWIN_NO_CLEAR                        | slots beyond the end are not cleared
fails | commit  | KILLS=1 TWIN_TRUST_HEAD                      | nobody looks beyond head
fails | commit  | KILLS=1 TWIN_FLOOR_LATE                      | the floor is stored after the data
fails | commit  | KILLS=1 TWIN_FLOOR_SHORT                     | the floor is one too low
fails | commit  | KILLS=1 TWIN_FLOOR_MIDDLE                    | the floor stands in a transaction
fails | commit  | KILLS=1 TWIN_NO_CHECK                        | no look at the floor after the copy
fails | commit  | KILLS=1 TWIN_STRICT                          | the event at the floor is refused
fails | commit  | KILLS=1 TWIN_CHECK_FIRST                     | a look at the floor before the copy only
fails | commit  | KILLS=1 TWIN_NO_ALIGN                        | reading begins in a transaction
fails | commit  | KILLS=1 TWIN_BEYOND                          | slots beyond head are trusted
fails | commit  | KILLS=1 TWIN_NEVER_LAPPED                    | canary: readers are lapped
fails | commit  | KILLS=1 TWIN_NOTHING_FOUND                   | canary: recovery finds something
holds | payload | SEQS=7                                       | no torn payload
deep  | payload | SEQS=8                                       | no torn payload, more events
fails | payload | TWIN_SLOTS_ONLY                              | the floor forgets the payload
fails | payload | TWIN_FORGET_SKIPPED                          | the floor forgets the skipped end
fails | payload | TWIN_FLOOR_LATE                              | the floor is stored after the words
fails | payload | TWIN_NO_CHECK                                | no look at the floor after the copy
fails | payload | TWIN_STRICT                                  | the event at the floor is refused
fails | payload | TWIN_CHECK_BETWEEN                           | the floor is asked before the words
fails | payload | TWIN_NEVER_TORN                              | canary: copies do get torn
'

# search DIR OPTIMISATION MODEL DEFINE...: leaves the output of the search in DIR/out
search()
{
	local dir=$1 optimisation=$2 model=$3

	shift 3
	mkdir "$dir" && cd "$dir" || return
	spin -a "${@/#/-D}" "$here/$model.pml" >spin.out 2>&1 &&
		gcc "$optimisation" -w -DSAFETY -DCOLLAPSE -DMEMLIM=6000 -o pan pan.c >>spin.out 2>&1 ||
		return
	./pan -m1000000 >out 2>&1
	rm -f pan pan.?
}

# judge DIR VERDICT: is the output what it should be?  Anything but a plain yes is no.
judge()
{
	local out=$1/out

	[ -f "$out" ] || return 1
	if grep -qE 'max search depth too small|reached -DMEMLIM|out of memory' "$out"; then
		return 1
	fi
	if [ "$2" = holds ]; then
		grep -q 'errors: 0$' "$out"
	else
		grep -q 'errors: 1$' "$out" && grep -q '^pan:1: assertion violated' "$out"
	fi
}

one()
{
	local n=$1 verdict=$2 model=$3 defines=$4 shows=$5 states optimisation=-O2

	# A twin is refuted sooner than it is compiled well.
	[ "$verdict" = holds ] || optimisation=-O0
	read -ra defines <<<"$defines"
	search "$tmp/$n" $optimisation "$model" "${defines[@]}"
	states=$(sed -nE 's/^ *([0-9]+) states, stored.*/\1/p' "$tmp/$n/out" 2>/dev/null)
	if judge "$tmp/$n" "$verdict"; then
		printf '%-5s %-7s %9s states  %s\n' "$verdict" "$model" "$states" "$shows"
		return 0
	fi
	printf 'WRONG %-7s it should be that it %s: %s (-D%s)\n' "$model" "$verdict" \
		"$shows" "${defines[*]}"
	cat "$tmp/$n"/spin.out "$tmp/$n"/out 2>/dev/null | sed 's/^/    /' | head -n 40
	return 1
}

failed=0
n=0
running=0
while IFS='|' read -r verdict model defines shows; do
	read -r verdict <<<"$verdict"
	read -r model <<<"$model"
	read -r shows <<<"$shows"
	[ -n "$verdict" ] || continue
	[ "$only" = "  " ] || [[ $only == *" $model "* ]] || continue
	if [ "$verdict" = deep ]; then
		$deep || continue
		verdict=holds
	fi
	n=$((n + 1))
	one "$n" "$verdict" "$model" "$defines" "$shows" &
	if [ $((++running)) -ge "$(nproc)" ]; then
		wait -n || failed=$((failed + 1))
		running=$((running - 1))
	fi
done <<<"$table"
while [ $running -gt 0 ]; do
	wait -n || failed=$((failed + 1))
	running=$((running - 1))
done
echo "$n searches, $failed wrong"
[ $n -gt 0 ] && [ $failed -eq 0 ]
