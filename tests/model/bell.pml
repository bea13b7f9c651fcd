/* SPDX-License-Identifier: MIT */
/*
 * bell.pml - sleeping and waking, as shm/bell.h has it
 *
 * One writer, its keeper, two sleepers; topics 0 and 1 and ANY.  The writer's
 * plain stores go through a FIFO that drains whenever it likes, as on x86-64;
 * its locked instructions and system calls empty the FIFO first.  A sleeper rings
 * by a locked instruction and stores nothing else.  The writer never loads what it
 * stores plainly, so its loads need not search the FIFO.
 *
 * Checked when nothing can move any more: no sleeper sleeps while an event that it
 * wants is published.  Checked always: how often a sleeper woke for nothing is
 * bounded by how often the words have moved.
 *
 * Of the two barriers one is chosen: WRITER_BARRIER or SLEEPER_BARRIER.  Each TWIN_...
 * is a mistake, and must be refuted:
 *
 *	TWIN_NO_BARRIER		(neither) nobody orders publishing before the bell
 *	TWIN_SLEEP_ON_HEAD	the futex word is `head`, not a counter of its own
 *	TWIN_ADD_FIRST		the counter moves before the bell is cleared
 *	TWIN_NO_SECOND_LOOK	the sleeper does not look again after ringing
 *	TWIN_WAKE_FIRST		the writer wakes, then publishes
 *	TWIN_LATE_VALUE		the sleeper reads the counter after its second look
 *	TWIN_NO_ADD		the writer clears the bell and wakes, no counter moves
 *	TWIN_FORGET_REST	the keeper is not told whom the writer did not wake
 *	TWIN_NO_ANY		the writer overlooks those who sleep on ANY
 *	TWIN_NEVER_SLEEPS	a canary: that nobody ever sleeps is not true
 *	TWIN_NEVER_WOKEN	a canary: that no futex wake-up is ever needed neither
 */

#ifndef COMMITS
#define COMMITS 3
#endif

#ifndef PAIR
#define PAIR 15 /* which cases of init */
#endif

#define ANY	 2 /* beside topics 0 and 1 */
#define SLEEPERS 2
#define INLINE	 1 /* how many of a topic's sleepers the writer wakes by itself */

#define BIT(t)	  (1 << (t))
#define LOWEST(m) (((m) & 1) -> 0 : (((m) & 2) -> 1 : 2))

/* Shared memory. */
byte slot;		  /* the newest published event: the ring's seq words */
byte topics[COMMITS + 1]; /* what each event is about; stored before slot */
byte bell;
byte wakes[3];

/* The kernel's futex queues: who waits on which words; who has been woken. */
byte queued[SLEEPERS];
bool woken[SLEEPERS];

/* The keeper: words whose sleepers it shall wake. */
byte rest;

byte moves; /* of the words, all together */

chan buffer = [COMMITS] of { byte }; /* values on their way to `slot` */

proctype store_buffer()
{
end:
	do
	:: buffer?slot
	od
}

/* What a fence, a locked instruction or a system call of the writer waits for. */
#define DRAINED empty(buffer)

/*
 * FUTEX_WAKE on word @t: at most @max sleepers.  The order in which they lie there
 * does not matter: the cases in init have every kind of neighbour.
 */
inline futex_wake(t, max, n)
{
	n = 0;
	i = 0;
	do
	:: i < SLEEPERS ->
		if
		:: n < max && (queued[i] & BIT(t)) && !woken[i] ->
			woken[i] = true;
			n++
		:: else
		fi;
		i++
	:: else -> break
	od;
	i = 0
}

#ifdef TWIN_NO_ANY
#define CONCERNED(about) (bell & (about))
#else
#define CONCERNED(about) (bell & ((about) | BIT(ANY)))
#endif

/*
 * Below, each atomic block is one access to what is shared, and what the process
 * then does by itself.
 */
proctype writer()
{
	byte c, n, i, hit, left;

commit:
	atomic {
		if
		:: c < COMMITS ->
			c++;
			if
			:: topics[c] = BIT(0)
			:: topics[c] = BIT(1)
			:: topics[c] = BIT(0) | BIT(1)
			fi
		:: goto done /* any number of commits, then none for ever */
		fi;
#ifndef TWIN_WAKE_FIRST
		buffer!c
#endif
	};
#ifdef WRITER_BARRIER
	DRAINED;
#endif
	atomic {
		hit = CONCERNED(topics[c]);
		left = hit;
		if
		:: !hit -> goto committed
		:: else
		fi
	};
#ifdef TWIN_ADD_FIRST
add:
	atomic {
		DRAINED;
		wakes[LOWEST(left)]++;
		left = left & (left - 1);
		if
		:: left -> goto add
		:: else -> left = hit
		fi
	};
#endif
	atomic { DRAINED; bell = bell & (7 ^ hit) };
#if !defined(TWIN_ADD_FIRST) && !defined(TWIN_NO_ADD)
add:
	atomic {
		DRAINED;
		wakes[LOWEST(left)]++;
#ifdef COUNT
		moves++;
#endif
		left = left & (left - 1);
		if
		:: left -> goto add
		:: else -> left = hit
		fi
	};
#endif
wake:
	atomic {
		futex_wake(LOWEST(left), INLINE, n);
#ifndef TWIN_FORGET_REST
		if
		:: n == INLINE -> rest = rest | BIT(LOWEST(left))
		:: else
		fi;
#endif
		n = 0;
		left = left & (left - 1);
		if
		:: left -> goto wake
		:: else -> hit = 0
		fi
	};
committed:
#ifdef TWIN_WAKE_FIRST
	buffer!c;
#endif
	goto commit;
done:
	skip
}

proctype keeper()
{
	byte n, i, t;

end:
	do
	:: atomic {
		rest ->
		t = LOWEST(rest);
		rest = rest & (rest - 1)
	   };
#ifdef COUNT
		moves++;
#endif
		wakes[t]++;
		atomic { futex_wake(t, SLEEPERS, n); n = 0; t = 0 }
	od
}

/* Moves on to the newest event; was one of them wanted? */
inline look()
{
	news = false;
	do
	:: position < slot ->
		position++;
		news = news || (wants & (topics[position] | BIT(ANY)))
	:: else -> break
	od
}

#ifdef TWIN_SLEEP_ON_HEAD
#define WORD(t) slot /* as `head`, which follows it in the same order */
#else
#define WORD(t) wakes[t]
#endif

proctype sleeper(byte me; byte wants)
{
	byte position, for_nothing, left;
	byte seen[3];
	bool news, slept;

awake:
	atomic {
		look();
		left = wants;
		if
		:: news -> news = false; slept = false; goto awake
#ifdef COUNT
		:: !news && slept ->
			for_nothing++;
			slept = false;
			/* A move can end a sleep; so can its wake-up, if it comes after
			 * the sleeper lay down again, and likewise the keeper's. */
			assert(for_nothing <= BOUND * moves)
#endif
		:: else
		fi
	};
#ifdef TWIN_LATE_VALUE
	goto ring;
#endif
remember:
	atomic {
		seen[LOWEST(left)] = WORD(LOWEST(left));
		left = left & (left - 1);
		if
		:: left -> goto remember
		:: else
		fi;
#ifdef TWIN_LATE_VALUE
		left = wants;
		goto wait
#endif
	};
ring:
	bell = bell | wants;
#ifdef SLEEPER_BARRIER
	/* membarrier(2): all that the writer has stored so far is visible */
	atomic {
		do
		:: nempty(buffer) -> buffer?slot
		:: empty(buffer) -> break
		od
	};
#endif
	atomic {
		left = wants;
#ifndef TWIN_NO_SECOND_LOOK
		look();
		if
		:: news -> news = false; slept = false; goto awake
		:: else
		fi;
#endif
#ifdef TWIN_LATE_VALUE
		goto remember
#endif
	};
wait:
	/* futex_waitv(2): each word is compared and queued for in one step, the words
	 * one after another; a wake-up in between counts. */
	atomic {
		if
		:: woken[me] -> left = 0
		:: !woken[me] && WORD(LOWEST(left)) == seen[LOWEST(left)] ->
			queued[me] = queued[me] | BIT(LOWEST(left));
			left = left & (left - 1)
		:: else -> woken[me] = true; left = 0
		fi;
		if
		:: left -> goto wait
		:: else
		fi
	};
#ifdef TWIN_NEVER_SLEEPS
	assert(woken[me]);
#endif
	atomic {
		if
		:: woken[me] ->
#ifdef TWIN_NEVER_WOKEN
			assert(queued[me] != wants);
#endif
			queued[me] = 0;
			woken[me] = false;
#ifdef COUNT
			slept = true;
#endif
			seen[0] = 0;
			seen[1] = 0;
			seen[2] = 0;
			goto awake
		:: timeout -> /* nothing else can move */
			look();
			assert(!news) /* or it overslept */
		fi
	}
}

init {
	atomic {
		if
#ifdef ALONE
		:: run sleeper(0, BIT(0))
		:: run sleeper(0, BIT(0) | BIT(1))
#else
		:: PAIR & 1 -> run sleeper(0, BIT(0)); run sleeper(1, BIT(0))
		:: PAIR & 2 -> run sleeper(0, BIT(0)); run sleeper(1, BIT(1))
		:: PAIR & 4 -> run sleeper(0, BIT(0)); run sleeper(1, BIT(ANY))
		:: PAIR & 8 -> run sleeper(0, BIT(0) | BIT(1)); run sleeper(1, BIT(1))
#endif
		fi;
		run store_buffer();
		run writer();
		run keeper()
	}
}
