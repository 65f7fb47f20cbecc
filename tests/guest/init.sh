#!/bin/busybox sh
# The first process of the guest. It mounts what programs expect, loads the modules of /job/modules, runs /job/command,
# and hands exit code and files to the host through the named ports of a virtio console.
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LD_LIBRARY_PATH=/lib64 HOME=/root TMPDIR=/tmp

/bin/busybox mkdir -p /bin /sbin /usr/bin /usr/sbin /dev /proc /sys /tmp /run /root /mnt
/bin/busybox --install -s /bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t devpts devpts /dev/pts
# A fault must be seen, not survived.
echo 1 >/proc/sys/kernel/panic_on_oops

say() { echo "guest: $*" >/dev/console; }

# Ends the machine; without a status on its port the host takes the run for failed.
give_up() {
  say "$*"
  poweroff -f
}

while read -r module; do
  # shellcheck disable=SC2086 -- parameters follow the file
  insmod $module >/dev/console 2>&1 || give_up "cannot load $module"
done </job/modules

# The device of a port by its name. Ports appear a moment after their driver.
port() {
  for _ in $(seq 100); do
    for name in /sys/class/virtio-ports/*/name; do
      if [ "$(cat "$name" 2>/dev/null)" = "$1" ]; then
        basename "$(dirname "$name")"
        return
      fi
    done
    sleep 0.05
  done
}

stdout=/dev/$(port stdout) stderr=/dev/$(port stderr) status=/dev/$(port status) files=/dev/$(port files)
[ -c "$files" ] || give_up "the ports to the host did not appear"

say "runs the command"
sh /job/command </dev/null >"$stdout" 2>"$stderr"
code=$?
say "the command ended with $code"

# shellcheck disable=SC2046 -- one word a pattern
(cd / && find $(sed 's|^/||' /job/collect) -type f 2>/dev/null | cpio -o -H newc >"$files" 2>/dev/console)
echo "$code" >"$status"
sync
poweroff -f
