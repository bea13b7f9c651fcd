/* SPDX-License-Identifier: MIT */
/*
 * reader.cpp - a feed from C++: keys below a prefix, and where to go on from
 *
 *	reader FEED PREFIX [MARKER]
 */
#include <cstdio>
#include <memory>
#include <ringtail.h>
#include <string>

namespace
{

struct close_reader {
	void operator()(ringtail *reader) const
	{
		ringtail_close(reader);
	}
};

using reader_ptr = std::unique_ptr<ringtail, close_reader>;

reader_ptr open_reader(const char *feed, const std::string &prefix, const char *marker)
{
	ringtail_filter filter = {};
	ringtail_options options = RINGTAIL_OPTIONS_INIT;
	ringtail *reader = nullptr;

	filter.kind = RINGTAIL_FILTER_PREFIX;
	filter.a = prefix.data();
	filter.a_len = prefix.size();
	options.filters = &filter;
	options.n_filters = 1;
	options.start = marker ? RINGTAIL_START_MARKER : RINGTAIL_START_OLDEST;
	options.marker = marker;
	if (ringtail_open(feed, &options, &reader) < 0)
		std::fprintf(stderr, "%s\n", ringtail_error(nullptr));
	return reader_ptr(reader);
}

std::string text(const void *bytes, std::size_t len)
{
	return std::string(static_cast<const char *>(bytes), len);
}

} // namespace

int main(int argc, char **argv)
{
	if (argc < 3) {
		std::fprintf(stderr, "usage: reader FEED PREFIX [MARKER]\n");
		return 2;
	}
	const reader_ptr reader =
		open_reader(argv[1], argv[2], argc > 3 ? argv[3] : nullptr);
	const ringtail_event *events = nullptr;
	std::size_t n = 0;
	int r = reader ? 0 : -1;

	while (r >= 0) {
		r = ringtail_next_txn(reader.get(), &events, &n, RINGTAIL_FOREVER);
		for (std::size_t i = 0; r == RINGTAIL_EVENT && i < n; i++)
			std::printf("%s%s (%zu bytes)\n",
				    events[i].op == RINGTAIL_DELETE ? "-" : "+",
				    text(events[i].key, events[i].key_len).c_str(),
				    events[i].value_len);
	}
	if (reader) {
		char marker[RINGTAIL_MARKER_SIZE];

		ringtail_marker(reader.get(), marker);
		std::printf("go on after %s\n", marker);
	}
	return r == RINGTAIL_E_CLOSED ? 0 : 1;
}
