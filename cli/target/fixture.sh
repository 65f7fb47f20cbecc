#!/bin/sh
# Makes one fixture in a folder of its own, says where it is, and takes it down when its standard input ends: that
# happens however the process that started it ends, kill -9 included. `clean` takes down what is left of a fixture
# whose script was killed, too.
#
# fixture.sh daemon FOLDER ARGUMENT...   an export of qemu-storage-daemon, which mounts FOLDER/disk
# fixture.sh ram FOLDER BYTES            a zram device, filled with random bytes
# fixture.sh clean FOLDER
#
# Standard output gets one line: "ready PATH" or "failed REASON".
set -u
action=$1
folder=$2
shift 2

# Steps of 0.1 s that a device may stay busy, or a daemon may take to start or end.
readonly patience=50

say_failed() {
  printf 'failed %s\n' "$*"
  exit 1
}

# Reads a file of one line, or nothing.
line_of() {
  cat "$1" 2>/dev/null
}

# Whether the daemon's disk is mounted. The kernel writes blanks and backslashes of a path in octal.
is_mounted() {
  grep -qF " $(printf '%s/disk' "$folder" | sed 's/\\/\\134/g; s/ /\\040/g; s/\t/\\011/g') " /proc/self/mounts
}

stop_daemon() {
  pid=$(line_of "$folder/daemon.pid")
  # A number alone may belong to another process by now: the command line names the folder.
  if [ -n "$pid" ] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF "$folder/"; then
    kill -TERM "$pid" 2>/dev/null
    for _ in $(seq $patience); do
      [ -e "/proc/$pid" ] || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null
  fi
  # A daemon that ends unmounts; one that was killed leaves a mount that answers ENOTCONN.
  if is_mounted; then
    fusermount3 -u -z "$folder/disk" 2>/dev/null || umount -l "$folder/disk" 2>/dev/null
  fi
}

stop_ram() {
  number=$(line_of "$folder/zram")
  [ -n "$number" ] && [ -e "/sys/block/zram$number" ] || return 0
  for _ in $(seq $patience); do
    # Both fail with EBUSY while a process has the device open.
    if { echo 1 >"/sys/block/zram$number/reset"; } 2>/dev/null; then
      [ -e "$folder/borrowed" ] || { echo "$number" >/sys/class/zram-control/hot_remove; } 2>/dev/null
      return 0
    fi
    sleep 0.1
  done
  return 1
}

clean() {
  trap '' INT HUP TERM
  stop_daemon
  if stop_ram; then rm -rf -- "$folder"; fi
}

start_daemon() {
  : >"$folder/disk"
  # The signal of a dying parent: without this script the daemon would go on.
  setpriv --pdeathsig KILL qemu-storage-daemon "$@" --pidfile "$folder/daemon.pid" \
    </dev/null >/dev/null 2>"$folder/error" 9>&- &
  daemon=$!
  for _ in $(seq $patience); do
    if is_mounted; then
      printf 'ready %s/disk\n' "$folder"
      return
    fi
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.1
  done
  say_failed "$(tail -n 1 "$folder/error" | tr -d '\n')"
}

start_ram() {
  bytes=$1
  # In KiB; arithmetic of awk may answer in powers of ten.
  free=$(($(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo) * 512))
  # Random bytes do not compress: the device takes as much memory as it is long.
  [ "$bytes" -le "$free" ] || say_failed "$bytes bytes are more than half of the free memory, wanted at most $free"
  if [ -r /sys/class/zram-control/hot_add ]; then
    number=$(cat /sys/class/zram-control/hot_add 2>/dev/null)
    [ -n "$number" ] || say_failed "the kernel adds no zram device: wanted root"
  elif [ -e /sys/block/zram0 ]; then
    [ "$(line_of /sys/block/zram0/disksize)" = 0 ] || say_failed "zram0 is in use and the kernel adds no other"
    number=0
    : >"$folder/borrowed"
  else
    say_failed "there is no zram here: wanted a kernel with zram, or modprobe zram"
  fi
  echo "$number" >"$folder/zram"
  { echo "$bytes" >"/sys/block/zram$number/disksize"; } 2>/dev/null || say_failed "zram$number takes no size of $bytes bytes"
  # What was never written reads as zeroes without any work.
  head -c "$bytes" /dev/urandom 2>/dev/null | dd of="/dev/zram$number" bs=1M iflag=fullblock 2>/dev/null ||
    say_failed "/dev/zram$number cannot be filled with $bytes bytes"
  echo "ready /dev/zram$number"
}

if [ "$action" = clean ]; then
  clean
  [ ! -e "$folder" ] || say_failed "another process has the device open"
  exit 0
fi

# A process that can lock this file knows that this script is gone.
exec 9>"$folder/lock"
flock -n 9 || say_failed "the folder $folder is in use"
echo $$ >"$folder/supervisor.pid"
trap clean EXIT
trap 'exit 0' TERM
# Ctrl-C reaches all processes of a terminal; the one that started this closes the pipe when it has had its turn.
trap '' INT HUP PIPE
case $action in
  daemon) start_daemon "$@" ;;
  ram) start_ram "$@" ;;
  *) say_failed "there is no fixture $action" ;;
esac
# No process writes: this ends with the pipe.
while read -r _; do :; done
