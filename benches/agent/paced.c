/* The floor: one loop that runs programs at a fixed rate with vfork and two pipes, and does
 * nothing with what they print. Prints the CPU microseconds of its own that each run cost.
 * Usage: paced FOLDER PLUGINS RATE SECONDS */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void run(char *path) {
  int out[2], err[2];
  char buffer[65536];
  char *argv[] = {path, NULL};
  if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) exit(1);
  pid_t pid = vfork();
  if (pid == 0) {
    dup2(out[1], 1);
    dup2(err[1], 2);
    execve(path, argv, environ);
    _exit(127);
  }
  close(out[1]);
  close(err[1]);
  while (read(out[0], buffer, sizeof buffer) > 0) {}
  while (read(err[0], buffer, sizeof buffer) > 0) {}
  close(out[0]);
  close(err[0]);
  waitpid(pid, NULL, 0);
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  int plugins = atoi(argv[2]);
  long rate = atol(argv[3]), total = rate * atol(argv[4]);
  struct timespec due;
  struct rusage before, after;
  clock_gettime(CLOCK_MONOTONIC, &due);
  getrusage(RUSAGE_SELF, &before);
  for (long n = 0; n < total; n++) {
    char path[4096];
    snprintf(path, sizeof path, "%s/p%ld.sh", argv[1], n % plugins);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
    run(path);
    due.tv_nsec += 1000000000L / rate;
    while (due.tv_nsec >= 1000000000L) {
      due.tv_nsec -= 1000000000L;
      due.tv_sec++;
    }
  }
  getrusage(RUSAGE_SELF, &after);
  double us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec -
               before.ru_stime.tv_sec) * 1e6 +
              (after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec -
               before.ru_stime.tv_usec);
  printf("%.1f\n", us / total);
  return 0;
}
