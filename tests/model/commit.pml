/* SPDX-License-Identifier: MIT */
/*
 * commit.pml - commit, reading and recovery, as shm/ring.h has it
 *
 * A ring of four slots, transactions of one or two events, so that slots are
 * reused soon; a writer that is killed at any step and followed by another, which
 * is killed in the same way; a reader that begins anywhere.  Stores of the writer
 * are seen in order (x86-64, or release everywhere), and so are loads (acquire): a
 * step is one access.
 *
 * What was published is remembered beside the ring.  Checked: an event that the
 * reader believes is the one that was published under its seq, first in its
 * transaction if it is where the reader began, and followed by the rest; what was
 * published is what a next writer finds; the reader ends at the newest event; and
 * nothing at or above the floor is taken for lost.
 *
 * Each TWIN_... is a mistake, and must be refuted:
 *
 *	TWIN_FIRST_FIRST	the seq word of a transaction's first event goes first
 *	TWIN_HEAD_FIRST		head is stored before the seq words
 *	TWIN_NO_CLEAR		the next writer leaves the slots beyond the end alone
 *	TWIN_TRUST_HEAD		the next writer does not look beyond head
 *	TWIN_FLOOR_LATE		the floor is stored after the data
 *	TWIN_FLOOR_SHORT	the floor is one too low
 *	TWIN_FLOOR_MIDDLE	the floor is not aligned to a transaction
 *	TWIN_NO_CHECK		the reader does not ask for the floor after its copy
 *	TWIN_STRICT		it believes only what lies above the floor
 *	TWIN_CHECK_FIRST	it asks before its copy only
 *	TWIN_NO_ALIGN		it begins in the middle of a transaction
 *	TWIN_BEYOND		it aligns by slots beyond head
 *	TWIN_NEVER_LAPPED	canaries: that it is never lapped, and that the next
 *	TWIN_NOTHING_FOUND	writer finds nothing beyond head, is not true
 */

#define SLOTS 4
#define AT(s) ((s) & 3)

#ifndef SEQS
#define SEQS 6 /* how far the writers go */
#endif
#ifndef KILLS
#define KILLS 2
#endif

/* Shared memory. */
byte seq[SLOTS], a[SLOTS], b[SLOTS], place[SLOTS], size[SLOTS];
byte head;
byte floor = 1;

/* What was published: by which writer, and where its transaction begins. */
byte by[SEQS + 2];
byte first_of[SEQS + 2];
byte newest;

bool killed;
byte kills;

/* Any instruction may be the last one; a writer that is done may die too. */
proctype killer()
{
end:
	do
	:: kills < KILLS -> atomic { !killed -> killed = true; kills++ }
	:: break
	od
}

inline publish(s)
{
	d_step {
		seq[AT(s)] = s;
		if
		:: s == f ->
			k = f;
			do
			:: k < f + n -> by[k] = me; first_of[k] = f; k++
			:: else -> break
			od;
			newest = f + n - 1;
			k = 0
		:: else
		fi
	}
}

/* First of a transaction at or above @s, below which nothing is needed any more. */
inline move_floor(s)
{
	d_step {
		k = s;
#ifndef TWIN_FLOOR_MIDDLE
		if
		:: k < f && place[AT(k)] -> k = k - place[AT(k)] + size[AT(k)]
		:: else
		fi;
#endif
		if
		:: k > f -> k = f
		:: else
		fi;
		if
		:: k > floor -> floor = k
		:: else
		fi;
		k = 0
	}
}

#ifdef TWIN_FLOOR_SHORT
#define LOWEST_KEPT(s) (s - SLOTS)
#else
#define LOWEST_KEPT(s) (s - SLOTS + 1)
#endif

inline make_room(s)
{
	if
	:: s >= floor + SLOTS -> move_floor(LOWEST_KEPT(s))
	:: s >= floor + SLOTS && s + 1 - SLOTS < f -> move_floor(LOWEST_KEPT(s) + 1)
	:: else
	fi
}

inline add(s)
{
#ifndef TWIN_FLOOR_LATE
	make_room(s);
#endif
	a[AT(s)] = me;
	b[AT(s)] = me;
#ifdef TWIN_FLOOR_LATE
	make_room(s);
#endif
}

inline seal(s)
{
	d_step { place[AT(s)] = s - f; size[AT(s)] = n }; /* one word */
	publish(s)
}

inline commit()
{
	add(f);
	if
	:: n == 2 -> add(f + 1)
	:: else
	fi;
#ifdef TWIN_HEAD_FIRST
	head = f + n - 1;
#endif
#ifdef TWIN_FIRST_FIRST
	seal(f);
	if
	:: n == 2 -> seal(f + 1)
	:: else
	fi;
#else
	if
	:: n == 2 -> seal(f + 1)
	:: else
	fi;
	seal(f);
#endif
	head = f + n - 1
}

/* As a next writer does: nothing is stored but by this. */
inline recover()
{
	f = head + 1;
#ifndef TWIN_TRUST_HEAD
	do
	:: f <= SEQS && seq[AT(f)] == f && place[AT(f)] == 0 -> f = f + size[AT(f)]
	:: else -> break
	od;
#endif
	assert(f == newest + 1);
#ifdef TWIN_NOTHING_FOUND
	assert(f == head + 1);
#endif
#ifndef TWIN_NO_CLEAR
	if
	:: seq[AT(f)] >= f -> seq[AT(f)] = 0
	:: else
	fi;
	if
	:: seq[AT(f + 1)] >= f -> seq[AT(f + 1)] = 0
	:: else
	fi;
#endif
	head = f - 1
}

proctype writer()
{
	byte me, f, n, k;

next_writer:
	atomic { me++; f = 0; n = 0; k = 0; killed = false };
	{
		recover();
		do
		:: f <= SEQS -> n = 1; commit(); f = f + n
		:: f + 1 <= SEQS -> n = 2; commit(); f = f + n
		:: break
		od;
end:
		false
	} unless {
		killed
	};
	goto next_writer
}

/* What the reader asks of the floor. */
#ifdef TWIN_STRICT
#define INTACT(s) ((s) > floor)
#else
#define INTACT(s) ((s) >= floor)
#endif

inline lapped()
{
	atomic {
		assert(at < floor); /* or it was not lapped at all */
#ifdef TWIN_NEVER_LAPPED
		assert(false);
#endif
		middle = false;
		goto join
	}
}

/* The first of a transaction at or above @at. */
inline align()
{
	x = seq[AT(at)];
	if
	:: x == at ->
		d_step { p = place[AT(at)]; z = size[AT(at)] };
		at = (p -> at - p + z : at)
	:: else
	fi;
	x = 0;
	p = 0;
	z = 0
}

proctype reader()
{
	byte at, x, y, p, z;
	bool middle, begun;

	/* After any seq, as a marker or a number says. */
	if
	:: at = 1
	:: at = 2
	:: at = 3
	:: at = 4
	fi;
#ifndef TWIN_BEYOND
	if
	:: at > head + 1 -> goto done /* in the future: an error */
	:: else
	fi;
#endif
#ifndef TWIN_NO_ALIGN
	align();
#endif
	goto read;
join:
	/* The newest, or the oldest; the latter as of one moment. */
	begun = false;
	if
	:: at = head + 1
	:: do
	   :: x = head;
		at = floor;
		if
		:: at <= x + 1 -> break
		:: else
		fi
	   od;
		x = 0
	fi;
read:
	atomic {
		x = seq[AT(at)];
		if
		:: x == at
		:: x > at -> x = 0; goto overtaken
		:: x < at ->
			x = 0;
			assert(!middle || at < floor); /* half a transaction */
			goto nothing
		fi
	};
#ifdef TWIN_CHECK_FIRST
	if
	:: INTACT(at)
	:: else -> goto overtaken
	fi;
#endif
	x = a[AT(at)];
	d_step { p = place[AT(at)]; z = size[AT(at)] };
	y = b[AT(at)];
	atomic {
#if !defined(TWIN_NO_CHECK) && !defined(TWIN_CHECK_FIRST)
		if
		:: INTACT(at)
		:: else -> x = 0; y = 0; p = 0; z = 0; goto overtaken
		fi;
#endif
		assert(at <= newest && x == by[at] && y == by[at]);
		assert(p == at - first_of[at]);
		assert(begun || p == 0);
		begun = true;
		middle = p + 1 < z;
		at++;
		x = 0;
		y = 0;
		p = 0;
		z = 0;
		goto read
	};
overtaken:
	lapped();
nothing:
	if
	:: atomic { seq[AT(at)] == at || at < floor -> goto again }
	:: atomic { timeout -> assert(at == newest + 1 && head == newest) }
	fi;
	goto done;
again:
	atomic {
		if
		:: at < floor && seq[AT(at)] != at -> goto overtaken
		:: else -> goto read
		fi
	};
done:
	skip
}

init {
	atomic {
		run writer();
		run reader();
		run killer()
	}
}
