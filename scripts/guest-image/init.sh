#!/bin/busybox sh
# First program of the guest's initramfs: brings up the interface the firmware booted from, logs in to the
# LUN named in the iBFT and starts the system on it. iscsid stays here, in memory: it is what reconnects,
# and must need nothing from the disk it reconnects to.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin LD_LIBRARY_PATH=/lib
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /run/lock/iscsi

fail() {
  echo "BOOTFABRIC-GUEST failed: $*"
  dmesg | tail -n 20
  cat /run/iscsid.log
  exec sleep 86400
}

# wait_for SECONDS COMMAND...: until the command succeeds, tried ten times a second.
wait_for() {
  tries=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || return 1
    usleep 100000
  done
}

while read -r module; do
  insmod "/modules/$module" || fail "module $module"
done </modules/order

ibft=/sys/firmware/ibft
target=
for t in "$ibft"/target*; do
  [ -e "$t/target-name" ] && target=$t && break
done
[ -n "$target" ] || fail "no target in the iBFT"
nic=$ibft/ethernet$(cat "$target/nic-assoc")
mac=$(cat "$nic/mac")
interface_of_mac() {
  for link in /sys/class/net/*; do
    [ "$(cat "$link/address")" = "$mac" ] && interface=${link##*/} && return 0
  done
  return 1
}
wait_for 10 interface_of_mac || fail "no interface has the MAC $mac of the iBFT"
ifconfig lo up
ifconfig "$interface" "$(cat "$nic/ip-addr")" netmask "$(cat "$nic/subnet-mask")" up || fail "interface $interface"
[ -s "$nic/gateway" ] && route add default gw "$(cat "$nic/gateway")"

echo "InitiatorName=$(cat "$ibft/initiator/initiator-name")" >/etc/iscsi/initiatorname.iscsi
iscsid --foreground >/run/iscsid.log 2>&1 &
iqn=$(cat "$target/target-name")
portal=$(cat "$target/ip-addr"):$(cat "$target/port")
# TPGT 1 is what every initiator that starts from an iBFT takes for granted.
wait_for 10 iscsiadm -m node -o new -T "$iqn" -p "$portal,1" || fail "no iscsid"
set_node() { iscsiadm -m node -T "$iqn" -p "$portal" -o update -n "$1" -v "$2" || fail "setting $1"; }
# What iPXE logged in with is in the iBFT, and the same will be asked of us.
if [ -s "$target/chap-name" ]; then
  set_node node.session.auth.authmethod CHAP
  set_node node.session.auth.username "$(cat "$target/chap-name")"
  set_node node.session.auth.password "$(cat "$target/chap-secret")"
  if [ -s "$target/rev-chap-name" ]; then
    set_node node.session.auth.username_in "$(cat "$target/rev-chap-name")"
    set_node node.session.auth.password_in "$(cat "$target/rev-chap-name-secret")"
  fi
fi
# A machine named so wants digests; there is nobody else to tell it.
case $(cat "$ibft/initiator/initiator-name") in
*-digests)
  set_node 'node.conn[0].iscsi.HeaderDigest' CRC32C
  set_node 'node.conn[0].iscsi.DataDigest' CRC32C
  ;;
esac
wait_for 60 iscsiadm -m node -T "$iqn" -p "$portal" --login || fail "login to $iqn at $portal"
# And one named so has several paths to its disk.
paths=
case $(cat "$ibft/initiator/initiator-name") in
*-paths) paths=several ;;
esac
if [ -n "$paths" ]; then
  # Logs in by the other portals and says what the root is on.
  . /multipath.sh
else
  wait_for 30 findfs LABEL=bootfabric || fail "no partition with the label bootfabric"
  root=$(findfs LABEL=bootfabric)
fi
mount -t ext4 -o noatime,errors=panic "$root" /root || fail "mount"

mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t devtmpfs dev /root/dev
mount -t tmpfs run /root/run
dmesg -n 1
[ -n "$paths" ] && describe_paths_when_asked &
exec chroot /root /sbin/agent "$iqn" "$portal" </dev/ttyS0 >/dev/ttyS0 2>&1
