/* libwayland: wl_display_add_socket, which locks NAME.lock, unlinks what is at NAME, and binds. For each line with a
 * count on standard input: creates and destroys that many, and prints the nanoseconds. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <wayland-server-core.h>

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int main(void)
{
	unsigned count;
	while (scanf("%u", &count) == 1) {
		uint64_t sum = 0;
		for (unsigned i = 0; i < count; i++) {
			/* The event loop and what else a display has is not what is measured. */
			struct wl_display *display = wl_display_create();
			if (!display)
				return 1;
			uint64_t start = now();
			if (wl_display_add_socket(display, "wayland-bench"))
				return 1;
			sum += now() - start;
			wl_display_destroy(display);
		}
		printf("%" PRIu64 "\n", sum);
		fflush(stdout);
	}
	return 0;
}
