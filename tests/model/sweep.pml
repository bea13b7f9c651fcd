/* SPDX-License-Identifier: MIT */
/*
 * sweep.pml - the keeper's sweep, as shm/keeper.h has it
 *
 * A bell that others may write can be cleared by a hostile one at any moment, so
 * here it counts for nothing: a sleeper is woken by the sweep alone.  The writer
 * notes what it committed; the keeper takes the note, moves the word and wakes all,
 * looks again a millisecond later, and sleeps without end when nothing was noted.
 * The writer's plain stores go through a FIFO, as in bell.pml.
 *
 * Checked when nothing can move any more: the sleeper does not sleep while an event
 * is published.  Each TWIN_... is a mistake, and must be refuted:
 *
 *	TWIN_NO_BARRIER		"noted already" is read before the event is published
 *	TWIN_LATE_IDLE		the keeper says that it is idle after its round
 *	TWIN_LATE_KICK		it reads the word it sleeps on after its round
 *	TWIN_NO_KICK		the writer leaves an idle keeper alone
 *	TWIN_WAKE_ONLY		the keeper wakes, but moves no word
 *	TWIN_NEVER_IDLE		a canary: that the keeper never goes to sleep is not true
 */

#ifndef COMMITS
#define COMMITS 3
#endif

byte slot;  /* the newest published event */
byte wakes; /* the word of its topic */
bool waiting, woken;

bool noted;
bool idle;
byte kick;
bool keeper_waits, keeper_woken;

chan buffer = [COMMITS] of { byte };

#define DRAINED empty(buffer)

proctype store_buffer()
{
end:
	do
	:: buffer?slot
	od
}

proctype writer()
{
	byte c;

	do
	:: c < COMMITS ->
		c++;
		buffer!c;
#ifndef TWIN_NO_BARRIER
		DRAINED;
#endif
		if
		:: noted
		:: else ->
			d_step { DRAINED; noted = true };
#ifndef TWIN_NO_KICK
			if
			:: idle ->
				atomic {
					DRAINED;
					if
					:: idle -> idle = false; kick++
					:: else -> goto next
					fi
				};
				d_step { keeper_woken = keeper_woken || keeper_waits }
			:: else
			fi
#endif
		fi;
next:
		skip
	:: break
	od
}

/* Is it a millisecond since the last sweep?  Either. */
inline round()
{
	swept = false;
	if
	:: d_step { swept = noted; noted = false };
		if
		:: swept ->
#ifndef TWIN_WAKE_ONLY
			wakes++;
#endif
			d_step { woken = woken || waiting }
		:: else
		fi
	:: true
	fi;
	again = swept;
	again = again || noted;
	if
	:: again -> idle = false
	:: else
	fi
}

proctype keeper()
{
	byte seen;
	bool swept, again;

	do
	:: true ->
#ifndef TWIN_LATE_KICK
		seen = kick;
#endif
#ifndef TWIN_LATE_IDLE
		idle = true;
#endif
		round();
#ifdef TWIN_LATE_IDLE
		idle = !again;
#endif
#ifdef TWIN_LATE_KICK
		seen = kick;
#endif
		if
		:: again -> again = false; swept = false /* sleeps for a moment */
		:: else ->
			d_step { keeper_waits = kick == seen; keeper_woken = !keeper_waits };
#ifdef TWIN_NEVER_IDLE
			assert(!keeper_waits);
#endif
end:
			d_step { keeper_woken; keeper_waits = false; keeper_woken = false }
		fi
	od
}

inline look()
{
	news = position < slot;
	position = slot
}

proctype sleeper()
{
	byte position, seen;
	bool news;

	do
	:: true ->
		seen = wakes;
		d_step { look() };
		if
		:: news -> news = false
		:: else ->
			d_step { waiting = wakes == seen; woken = !waiting };
			if
			:: d_step { woken; waiting = false; woken = false }
			:: timeout ->
				d_step { look(); assert(!news) };
				break
			fi
		fi
	od
}

init {
	atomic {
		run store_buffer();
		run writer();
		run keeper();
		run sleeper()
	}
}
