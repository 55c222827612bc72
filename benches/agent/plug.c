/* A trivial plugin: notes when it started (16 bytes: its number and the monotonic clock, in
 * nanoseconds) and prints one metric. Usage: plug NUMBER LOG */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t note[2] = {atoi(argv[1]), now.tv_sec * 1000000000LL + now.tv_nsec};
  int log = open(argv[2], O_WRONLY | O_APPEND | O_CREAT, 0600);
  if (log < 0 || write(log, note, sizeof note) != sizeof note) return 1;
  printf("{\"metrics\":[{\"name\":\"requests\",\"value\":%ld,\"type\":\"counter\",\"unit\":\"1\","
         "\"label\":\"Requests served\",\"tags\":{\"worker\":\"%s\",\"region\":\"eu\"}}]}\n",
         now.tv_nsec % 100000, argv[1]);
  return 0;
}
