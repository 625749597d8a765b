#!/bin/busybox sh
# The guest's whole system: obeys commands on the serial console, a line each, and answers in lines that
# begin with BOOTFABRIC-GUEST. Blocks written and their numbers are the tester's; nothing here decides
# whether a test passed.
export PATH=/bin:/sbin
DATA=/var/lib/guest/stamps
MARKER=/var/lib/guest/marker
SLOTS=2048
stty -echo

uptime_now() { read -r up _ </proc/uptime; }
say() { echo "BOOTFABRIC-GUEST $*"; }

# write FIRST COUNT: block N at slot N mod SLOTS, past the page cache and flushed before it is acknowledged.
# A line on the console ends it early.
write_stamps() {
  n=$1
  end=$((n + $2))
  while [ "$n" -lt "$end" ]; do
    if ! printf '%-4095s\n' "stamp $n" | dd of="$DATA" bs=4096 seek=$((n % SLOTS)) count=1 iflag=fullblock \
      oflag=direct conv=notrunc,fsync 2>/run/dd.err; then
      say "write-error $n $(tail -n 1 /run/dd.err)"
      break
    fi
    uptime_now
    say "ack $n $up"
    n=$((n + 1))
    read -r -t 0 && read -r line && break
  done
  say "written $n"
}

# sum: SHA-256 of the blocks as they come from the disk.
sum() {
  echo 3 >/proc/sys/vm/drop_caches
  if digest=$(sha256sum "$DATA"); then say "sum ${digest%% *}"; else say "sum unreadable"; fi
}

# read OFFSET LENGTH: SHA-256 of a part of the whole disk, past the page cache, in MiB.
read_disk() {
  disk=$(findfs LABEL=bootfabric)
  digest=$(dd if="${disk%[0-9]}" bs=1M skip="$1" count="$2" iflag=direct 2>/run/dd.err | sha256sum)
  say "read ${digest%% *}"
}

report() {
  uptime_now
  marker=absent
  [ -e "$MARKER" ] && marker=present
  say "$1 uptime=$up boot=$(cat /proc/sys/kernel/random/boot_id) marker=$marker"
}

report "ready target=$1 portal=$2"
while read -r command first second; do
  case $command in
  write) write_stamps "$first" "$second" ;;
  sum) sum ;;
  read) read_disk "$first" "$second" ;;
  mark) echo marked >"$MARKER" && sync && say marked ;;
  status) report status ;;
  log) dmesg | tail -n "${first:-40}"; say "log-end" ;;
  reboot) say rebooting; reboot -f ;;
  '') ;;
  *) say "unknown-command $command" ;;
  esac
done
