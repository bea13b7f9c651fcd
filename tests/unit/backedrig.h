/* SPDX-License-Identifier: MIT */
/*
 * backedrig.h - a small ring with a log behind it
 */
#ifndef RINGTAIL_TESTS_UNIT_BACKEDRIG_H
#define RINGTAIL_TESTS_UNIT_BACKEDRIG_H

#include "tests/unit/rig.h"

#define EPOCH UINT64_C(0xe1)
#define TIME  UINT64_C(1700000000000000000)

struct backed {
	struct rig *rig;
	char path[256]; /* of the log's folder */
	struct rt_log_config config;
	struct rt_log log;
	struct rt_batch batch;
	struct rt_fault fault;
};

static struct backed h;

__attribute__((unused)) static void open_log(void)
{
	struct rt_log_report report;

	t_ok(rt_log_open(h.path, &h.config, NULL, NULL, &h.fault, &report, &h.log));
}

__attribute__((unused)) static int setup_backed(void **state)
{
	int r = setup(state);
	struct rig *rig = *state;

	h = (struct backed){ .rig = rig, .log = RT_LOG_NONE };
	(void)snprintf(h.path, sizeof(h.path), "%s/" RIG_FEED "/log", rig->dir);
	h.config = (struct rt_log_config){
		.name = RIG_FEED,
		.mode = RT_LOG_MEMORY,
		.segment_size = RT_LOG_SEGMENT_MIN,
		.file_mode = 0640,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.first_seq = 1,
		.epoch = EPOCH,
	};
	rig->config.epoch = EPOCH;
	return r;
}

__attribute__((unused)) static int teardown_backed(void **state)
{
	rt_log_drop(&h.log);
	rt_batch_fini(&h.batch);
	return teardown(state);
}

/* Log and ring, both empty. */
__attribute__((unused)) static struct rig *begin(void **state)
{
	struct rig *rig = *state;

	rig_open(rig);
	open_log();
	return rig;
}

__attribute__((unused)) static uint64_t time_of(uint64_t seq)
{
	return TIME + seq * 1000;
}

#endif
