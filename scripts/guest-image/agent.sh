#!/bin/busybox sh
# The guest's whole system: obeys commands on the serial console, a line each, and answers in lines that
# begin with BOOTFABRIC-GUEST. Blocks written and their numbers are the tester's; nothing here decides
# whether a test passed.
export PATH=/bin:/sbin LD_LIBRARY_PATH=/lib
DATA=/var/lib/guest/stamps
MARKER=/var/lib/guest/marker
SLOTS=2048
stty -echo

uptime_now() { read -r up _ </proc/uptime; }
say() { echo "BOOTFABRIC-GUEST $*"; }

# write FIRST COUNT: block N at slot N mod SLOTS, past the page cache and flushed before it is acknowledged.
# A line on the console ends it early, but for one that asks for the paths.
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
    if read -r -t 0 && read -r line; then
      [ "$line" = paths ] || break
      paths
    fi
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

# fio-start: rounds of fio in the background, over and over, each with data of its own: random blocks, half of them past
# the page cache and several at once, half of them through it, flushed all the while; then all are read back and checked.
FIO_STOP=/run/fio-stop
FIO_DONE=/run/fio-done
fio_round() {
  common="--thread --rw=randwrite --bs=4k --verify=crc32c --verify_fatal=1 --randrepeat=1 --randseed=$1"
  shift
  fio --output=/run/fio.out --name=direct --filename=/var/lib/guest/fio-direct --size=2m $common \
    --ioengine=libaio --iodepth=8 --direct=1 --fdatasync=8 "$@" \
    --name=buffered --filename=/var/lib/guest/fio-buffered --size=1m $common --ioengine=psync --fsync=1 "$@"
}
fio_rounds() {
  round=1
  outcome=ok
  until [ "$round" -gt 1 ] && [ -e "$FIO_STOP" ]; do
    if ! fio_round "$round" 2>/run/fio.err; then
      outcome=wrong
      break
    fi
    round=$((round + 1))
  done
  echo "$((round - 1)) $outcome" >"$FIO_DONE"
}

# fio-stop: ends them and reads the last round's blocks once more. Where a round found something wrong, that is told.
fio_stop() {
  touch "$FIO_STOP"
  until [ -s "$FIO_DONE" ]; do sleep 1; done
  read -r rounds outcome <"$FIO_DONE"
  if [ "$outcome" = ok ]; then
    sync
    echo 3 >/proc/sys/vm/drop_caches
    if fio_round "$rounds" --verify_only 2>/run/fio.err; then
      say "fio rounds=$rounds verified"
      return
    fi
  fi
  cat /run/fio.err /run/fio.out
  say "fio rounds=$rounds WRONG"
}

# paths: has what runs in memory say which paths the disk has.
paths() {
  if [ -p /run/paths ]; then echo >/run/paths; else say "paths-end maps=0"; fi
}

# still: nothing of the root is written any more; it is as after an orderly end.
still() {
  sync
  if mount -o remount,ro / 2>/run/still.err; then say still; else say "not-still $(cat /run/still.err)"; fi
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
  fio-start) fio_rounds </dev/null >/dev/null & say fio-started ;;
  fio-stop) fio_stop ;;
  still) still ;;
  paths) paths ;;
  log) dmesg | tail -n "${first:-40}"; say "log-end" ;;
  reboot) say rebooting; reboot -f ;;
  '') ;;
  *) say "unknown-command $command" ;;
  esac
done
