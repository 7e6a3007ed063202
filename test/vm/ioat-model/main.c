// SPDX-License-Identifier: Apache-2.0
/*
 * ioat-model: one process, one thread. Everything happens in the order in which it is
 * read here, so there is no lock and a fault strikes the same copy each time; a copy is
 * at most a mebibyte, so nobody waits long.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "control.h"
#include "vfio_user.h"

#define MAX_DEVICES 4
#define MAX_CONTROLS 8

static struct device devices[MAX_DEVICES];
static struct vfio_user connections[MAX_DEVICES];
static int listeners[MAX_DEVICES], control_listener = -1;
static struct control controls[MAX_CONTROLS];
static struct faults faults;
static int device_count;

static void usage(void)
{
	fputs("usage: ioat-model [--msi] [--channels N] [--fault SPEC]... --control PATH SOCKET...\n"
	      "One I/OAT device for every SOCKET, with up to 4 of the N channels each.\n", stderr);
	exit(2);
}

static int listen_on(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "ioat-model: %s: path too long for a socket\n", path);
		exit(1);
	}
	strcpy(address.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 4)) {
		fprintf(stderr, "ioat-model: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	return fd;
}

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Gives every channel its turn. Returns poll's timeout, in ms. */
static int run_channels(void)
{
	uint64_t next = UINT64_MAX, time = now(), when;
	int d, c;

	for (d = 0; d < device_count; d++)
		for (c = 0; c < devices[d].channels; c++) {
			when = channel_run(&devices[d], c, time);
			next = when < next ? when : next;
		}
	if (next == UINT64_MAX)
		return -1;
	return next <= time ? 0 : (int)((next - time) / 1000000 + 1);
}

/* Surprise removal is a connection that closes: all reads give all ones from then on. */
static void run_removals(void)
{
	int d, which;

	while (faults_take_removal(&faults, &which))
		for (d = 0; d < device_count; d++)
			if (which == FAULT_ANY || which == d)
				devices[d].removal = true;
	for (d = 0; d < device_count; d++)
		if (devices[d].removal) {
			vfio_user_close(&connections[d]);
			devices[d].removal = false;
		}
}

static void accept_device(int d)
{
	int fd = accept4(listeners[d], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (connections[d].fd >= 0)
		close(fd); /* a device has one owner */
	else
		vfio_user_connect(&connections[d], fd);
}

static void accept_control(void)
{
	int fd = accept4(control_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), i;

	for (i = 0; fd >= 0 && i < MAX_CONTROLS; i++)
		if (controls[i].fd < 0) {
			controls[i] = (struct control){ .fd = fd };
			return;
		}
	if (fd >= 0)
		close(fd);
}

static void loop(void)
{
	struct pollfd fds[2 * MAX_DEVICES + 1 + MAX_CONTROLS];
	int d, i, n;

	for (;;) {
		int timeout = run_channels();

		run_removals();
		for (n = d = 0; d < device_count; d++) {
			fds[n++] = (struct pollfd){ listeners[d], POLLIN, 0 };
			fds[n++] = (struct pollfd){ connections[d].fd, POLLIN, 0 };
		}
		fds[n++] = (struct pollfd){ control_listener, POLLIN, 0 };
		for (i = 0; i < MAX_CONTROLS; i++)
			fds[n++] = (struct pollfd){ controls[i].fd, POLLIN, 0 };
		if (poll(fds, n, timeout) < 0 && errno != EINTR) {
			perror("ioat-model: poll");
			exit(1);
		}
		for (n = d = 0; d < device_count; d++) {
			if (fds[n++].revents)
				accept_device(d);
			if (fds[n++].revents && connections[d].fd >= 0)
				vfio_user_receive(&connections[d]);
		}
		if (fds[n++].revents)
			accept_control();
		for (i = 0; i < MAX_CONTROLS; i++)
			if (fds[n++].revents && controls[i].fd >= 0)
				control_receive(&controls[i], &faults, devices, device_count);
	}
}

static void add_fault(const char *spec)
{
	const char *error = faults_add(&faults, spec);

	if (error) {
		fprintf(stderr, "ioat-model: --fault %s: %s\n", spec, error);
		exit(2);
	}
}

static void end(int signal)
{
	(void)signal;
	/* not _exit: the sanitizers' leak check runs at exit */
	exit(0);
}

int main(int argc, char **argv)
{
	const char *control = NULL;
	int channels = 2, i, left;
	bool msix = true;

	for (i = 1; i < argc && !strncmp(argv[i], "--", 2); i++) {
		if (!strcmp(argv[i], "--msi"))
			msix = false;
		else if (!strcmp(argv[i], "--channels") && i + 1 < argc)
			channels = atoi(argv[++i]);
		else if (!strcmp(argv[i], "--control") && i + 1 < argc)
			control = argv[++i];
		else if (!strcmp(argv[i], "--fault") && i + 1 < argc)
			add_fault(argv[++i]);
		else
			usage();
	}
	device_count = argc - i;
	if (!control || device_count < 1 || device_count > MAX_DEVICES || channels < device_count ||
	    channels > device_count * IOAT_MAX_CHANNELS)
		usage();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTERM, end);
	for (left = channels; i < argc; i++) {
		int d = device_count - (argc - i);
		int share = left / (argc - i) + (left % (argc - i) != 0);

		device_init(&devices[d], d, share, msix, &faults);
		vfio_user_init(&connections[d], &devices[d]);
		left -= share;
	}
	for (i = 0; i < MAX_CONTROLS; i++)
		controls[i].fd = -1;
	/* the control socket last: once it is there, all are */
	for (i = 0; i < device_count; i++)
		listeners[i] = listen_on(argv[argc - device_count + i]);
	control_listener = listen_on(control);
	loop();
}
