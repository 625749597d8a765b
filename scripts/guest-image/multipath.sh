# Part of the guest's first program where its disk has several paths: finds the target's other portals, logs in
# by all of them and makes one device of the disks that appear. udev and multipathd stay here, in memory, as iscsid.

mkdir -p /run/udev /etc/multipath
# As docs/guides/multipath.md has it.
cat >/etc/multipath.conf <<'END'
defaults {
  find_multipaths yes
}
devices {
  device {
    vendor "BOOTFAB"
    product "bootfabric LUN"
    path_grouping_policy group_by_prio
    prio alua
    path_checker tur
    failback immediate
    no_path_retry queue
    fast_io_fail_tmo 1
  }
}
END
ln -s udevadm /sbin/systemd-udevd
systemd-udevd --daemon || fail "udev"
iscsiadm -m discovery -t sendtargets -p "$portal" >/run/discovery 2>&1 || fail "discovery: $(cat /run/discovery)"
step() { echo "BOOTFABRIC-GUEST multipath: $*"; }
step "$(grep -c . /run/discovery) portals"
wanted=$(grep -c " $iqn" /run/discovery)
iscsiadm -m node -T "$iqn" --login >/run/logins 2>&1
all_disks() { [ "$(ls -d /sys/block/sd? 2>/dev/null | wc -l)" -ge "$wanted" ]; }
wait_for 60 all_disks || fail "not $wanted disks: $(cat /run/logins)"
step "$wanted disks"
udevadm trigger --action=add --subsystem-match=block --sysname-match='sd*' && udevadm settle --timeout=60
multipathd -d -s >/run/multipathd.log 2>&1 &
find_map() { map=$(dmsetup ls --target multipath | cut -f 1) && [ -e "/dev/mapper/$map" ] && [ -n "$map" ]; }
wait_for 60 find_map || fail "no multipath device: $(tail -n 20 /run/multipathd.log)"
all_paths() { [ "$(ls "/sys/block/$(basename "$(readlink -f "/dev/mapper/$map")")/slaves" | wc -l)" -ge "$wanted" ]; }
wait_for 60 all_paths || fail "not $wanted paths: $(tail -n 20 /run/multipathd.log)"
step "$map has $wanted paths"
kpartx -a -p -part "/dev/mapper/$map" || fail "partitions of $map"
root=/dev/mapper/$map-part2

# "MAJOR:MINOR GROUP" for each path, the group A (in use), E (enabled) or D (disabled): from the kernel's status, which
# is feature, handler and group counts, and for each group its state, its selector's words and its paths with theirs.
groups_of_paths() {
  dmsetup status "$map" | awk '{
    at = 4 + $4 + 1; at += $at + 1; groups = $at; at += 2
    for (; groups > 0; groups--) {
      state = $at; at += $(at + 1) + 2
      paths = $at; words = $(at + 1); at += 2
      for (; paths > 0; paths--) { print $at, state; at += 3 + words }
    }
  }'
}

# A line for each path, whenever the agent writes to the pipe that both see.
describe_paths_when_asked() {
  mkfifo /root/run/paths
  while read -r _ </root/run/paths; do
    multipathd show topology
    groups_of_paths >/run/groups
    multipathd show paths format '%d %w %t %T' | tail -n +2 | while read -r name wwid state checker; do
      read -r _ _ _ _ writes _ <"/sys/block/$name/stat"
      access=$(cat "/sys/block/$name/device/access_state")
      session=$(readlink -f "/sys/block/$name/device")
      portal=$(cat "${session%/target*}"/connection*/iscsi_connection/*/persistent_address)
      group=$(grep "^$(cat "/sys/block/$name/dev") " /run/groups)
      echo "BOOTFABRIC-GUEST path $name portal=$portal wwid=$wwid group=${group#* } is=$state checker=$checker" \
        "access=$access writes=$writes"
    done
    echo "BOOTFABRIC-GUEST paths-end maps=$(dmsetup ls --target multipath | wc -l)"
  done >/dev/ttyS0 2>&1
}
