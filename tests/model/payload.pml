/* SPDX-License-Identifier: MIT */
/*
 * payload.pml - payload reuse against the floor, as shm/ring.h has it
 *
 * Slots enough for all events, and a payload of four words; events of one or two
 * words, never broken by the end of the payload, so that some of it is skipped.
 * The writer looks for the floor among the slots it wrote; the reader copies
 * position and length, then the words, then asks for the floor.  Every access is a
 * step.
 *
 * Checked: what the reader believes is the event of that seq, whole; nothing at or
 * above the floor is taken for lost; the floor never covers the newest event.
 *
 * Each TWIN_... is a mistake, and must be refuted:
 *
 *	TWIN_SLOTS_ONLY		the floor follows the slots and forgets the payload
 *	TWIN_FORGET_SKIPPED	... or forgets the words skipped at the end
 *	TWIN_FLOOR_LATE		the floor is stored after the words
 *	TWIN_NO_CHECK		the reader does not ask after its copy
 *	TWIN_STRICT		it believes only what lies above the floor
 *	TWIN_CHECK_BETWEEN	it asks after the slot, before the words
 *	TWIN_NEVER_TORN		a canary: that the copy is never a torn one is not true
 */

#define SLOTS 8
#define WORDS 4
#define AT(s) ((s) & 7)
#define IN(p) ((p) & 3)

#ifndef SEQS
#define SEQS 6
#endif
#if SEQS > SLOTS
#error "slots are not reused here; commit.pml does that"
#endif

byte seq[SLOTS], pos[SLOTS], length[SLOTS];
byte word[WORDS];
byte floor = 1;
byte newest;

/*
 * Moves the floor to the first event that does not lie where [.., end) will be, and
 * perhaps one further.
 */
inline make_room(end)
{
	d_step {
		k = floor;
		do
		:: k < s && pos[AT(k)] + WORDS < end -> k++
		:: else -> break
		od
	};
	if
	:: k > floor ->
		if
		:: k < s -> k++ /* ahead, so as not to do this each time */
		:: true
		fi;
		floor = k
	:: else
	fi;
	k = 0
}

proctype writer()
{
	byte s = 1;
	byte p, n, k, end;

	do
	:: s <= SEQS ->
		if
		:: n = 1
		:: n = 2
		fi;
		end = p + n;
		if
		:: IN(p) + n > WORDS ->
#ifndef TWIN_FORGET_SKIPPED
			end = end + WORDS - IN(p);
#endif
			p = p + WORDS - IN(p)
		:: else
		fi;
#if !defined(TWIN_SLOTS_ONLY) && !defined(TWIN_FLOOR_LATE)
		make_room(end);
#endif
		pos[AT(s)] = p;
		length[AT(s)] = n;
		word[IN(p)] = s;
		if
		:: n == 2 -> word[IN(p + 1)] = s
		:: else
		fi;
#ifdef TWIN_FLOOR_LATE
		make_room(end);
#endif
		d_step { seq[AT(s)] = s; newest = s };
		assert(floor <= s);
		p = p + n;
		s++
	:: break
	od
}

#ifdef TWIN_STRICT
#define INTACT(s) ((s) > floor)
#else
#define INTACT(s) ((s) >= floor)
#endif

proctype reader()
{
	byte at = 1;
	byte p, n, x, y;

read:
	if
	:: seq[AT(at)] == at
	:: atomic { seq[AT(at)] != at && timeout -> assert(at == newest + 1); goto done }
	fi;
	p = pos[AT(at)];
	n = length[AT(at)];
#ifdef TWIN_CHECK_BETWEEN
	if
	:: INTACT(at)
	:: else -> goto lapped
	fi;
#endif
	x = word[IN(p)];
	if
	:: n == 2 -> y = word[IN(p + 1)]
	:: else -> y = x
	fi;
#ifdef TWIN_NEVER_TORN
	assert(x == at && y == at);
#endif
#if !defined(TWIN_NO_CHECK) && !defined(TWIN_CHECK_BETWEEN)
	if
	:: INTACT(at)
	:: else -> goto lapped
	fi;
#endif
	atomic {
		assert(x == at && y == at);
		at++;
		p = 0;
		n = 0;
		x = 0;
		y = 0;
		goto read
	};
lapped:
	atomic {
		assert(at < floor);
		at = floor; /* at the floor, to be overtaken once more at once */
		p = 0;
		n = 0;
		x = 0;
		y = 0;
		goto read
	};
done:
	skip
}

init {
	atomic {
		run writer();
		run reader()
	}
}
