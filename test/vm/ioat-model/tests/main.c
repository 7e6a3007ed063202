// SPDX-License-Identifier: Apache-2.0
/*
 * protocol-test MODEL: starts the model, plays QEMU and the guest to it, and ends it.
 * The model runs under the sanitizers, so ending well also says that nothing leaked.
 */
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client.h"

static void with_model(const char *model, bool msi, void (*test)(void), const char *name)
{
	const char *argv[] = { model, "--channels", "4", "--control", "control.sock",
			       msi ? "--msi" : "device.sock", msi ? "device.sock" : NULL, NULL };
	pid_t pid;
	int status;

	unlink("device.sock");
	unlink("control.sock");
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execv(model, (char **)argv);
		_exit(127);
	}
	test();
	CHECK(kill(pid, SIGTERM) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	printf("ok %s\n", name);
}

int main(int argc, char **argv)
{
	char model[PATH_MAX], dir[] = "/tmp/ioat-test.XXXXXX";

	CHECK(argc == 2 && realpath(argv[1], model));
	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	alarm(300);
	setvbuf(stdout, NULL, _IOLBF, 0);
	with_model(model, false, test_protocol, "protocol");
	with_model(model, false, test_malformed, "malformed messages");
	with_model(model, false, test_channels, "channels");
	with_model(model, false, test_faults, "faults");
	with_model(model, true, test_msi, "one vector for all channels");
	return 0;
}
