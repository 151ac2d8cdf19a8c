#!/usr/bin/env bash
# First process of a machine: sets up file systems of its own, runs containerd, and keeps the kubelet running.
#   machine-init.sh NAME NUMBER FOLDER
# PATH has the machine's programs; what it writes is in FOLDER.
set -uo pipefail
name=$1 number=$2 folder=$3
[ $$ = 1 ] || { echo "$0: lab/cluster/machine.ts runs this as the first process of a namespace" >&2; exit 2; }
mount --make-rprivate / && mount -t proc proc /proc && mount -t sysfs sysfs /sys && hostname "$name" || exit 1

# Control groups (version 1), rooted at the machine's own.
mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
for controller in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$controller" && mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
done
mkdir /sys/fs/cgroup/systemd && mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd

# State of its own; what is in FOLDER outlives a power cut.
mount -t overlay -o "lowerdir=/etc,upperdir=$folder/etc,workdir=$folder/etc.work" etc /etc || exit 1
mount -t tmpfs run /run && mkdir -p /run/lock /run/netns && mount --make-shared /run
mount -t tmpfs varlib /var/lib && mkdir -p /var/lib/{kubelet,containerd,etcd,cni}
mount --bind "$folder/kubelet" /var/lib/kubelet && mount --make-shared /var/lib/kubelet
mount --bind "$folder/containerd" /var/lib/containerd
mount --bind "$folder/etcd" /var/lib/etcd
mkdir -p /run/varlog && mount --bind /run/varlog /var/log && mkdir -p /var/log/{pods,containers} "$folder"/log/{pods,containers}
mount --bind "$folder/log/pods" /var/log/pods && mount --bind "$folder/log/containers" /var/log/containers
mkdir -p /run/libexec /usr/libexec && mount --bind /run/libexec /usr/libexec && mkdir -p /usr/libexec/kubernetes

# The kubelet sets these for the whole kernel: it gets files of that name instead.
mkdir -p /run/sysctl
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
  file=/run/sysctl/${setting//\//.}
  cat "/proc/sys/$setting" >"$file" && mount --bind "$file" "/proc/sys/$setting"
done

# The first time only: from then on /etc is what kubeadm and others have made of it.
set_up() {
rm -rf /etc/kubernetes /etc/cni /etc/containerd
mkdir -p /etc/kubernetes /etc/cni/net.d /etc/containerd
echo "$name" >/etc/hostname
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
rm -f /etc/resolv.conf && echo 'nameserver 10.10.0.1' >/etc/resolv.conf
{
  echo '127.0.0.1 localhost'
  for n in 1 2 3 4; do echo "10.10.0.1$n m$n"; done
  echo '10.10.0.11 cluster.test'
} >/etc/hosts
cat >/etc/cni/net.d/10-bridge.conflist <<END
{"cniVersion":"1.0.0","name":"bridge","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.$number.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
END
cat >/etc/containerd/config.toml <<END
version = 3
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'overlayfs'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '$PAUSE_IMAGE'
[plugins.'io.containerd.cri.v1.runtime']
  # A container that runs this may lack CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['/usr/lib/cni', '/opt/cni/bin']
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = false
END
}
[ -e "$folder/set-up" ] || { set_up && touch "$folder/set-up"; }

# What kubeadm asks of systemd. The kubelet is kept running below unless it was stopped, so ending it restarts it.
mkdir /run/bin
cat >/run/bin/systemctl <<'END'
#!/bin/sh
case "$*" in
*is-enabled*kubelet* | *is-active*kubelet* | *is-enabled*containerd* | *is-active*containerd* | *status*kubelet*) exit 0 ;;
*is-*) exit 3 ;;
*restart*kubelet*) rm -f /run/kubelet.stopped; [ -e /run/kubelet.pid ] && kill "$(cat /run/kubelet.pid)" 2>/dev/null; exit 0 ;;
*stop*kubelet*) touch /run/kubelet.stopped; [ -e /run/kubelet.pid ] && kill "$(cat /run/kubelet.pid)" 2>/dev/null; exit 0 ;;
*start*kubelet*) rm -f /run/kubelet.stopped ;;
esac
END
# What the guides ask of crictl. A container's id is that of its process.
cat >/run/bin/crictl <<'END'
#!/bin/sh
case "$1" in
ps) pgrep -ox "$(printf %.15s "$4")" ;;
stop)
  kill "$2" 2>/dev/null || exit 0
  for _ in $(seq 100); do kill -0 "$2" 2>/dev/null || exit 0; sleep 0.1; done
  kill -9 "$2"
  ;;
esac
END
chmod +x /run/bin/systemctl /run/bin/crictl

ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.1; done
echo 1 >/proc/sys/net/ipv4/ip_forward
ip link set eth0 up && ip address add "10.10.0.1$number/24" dev eth0 && ip route add default via 10.10.0.1
for n in 1 2 3 4; do [ $n = "$number" ] || ip route add "10.244.$n.0/24" via "10.10.0.1$n"; done

containerd >"$folder/log/containerd.log" 2>&1 &
until ctr version >/dev/null 2>&1; do sleep 0.2; done
touch "$folder/up"
kubernetes=/etc/kubernetes
while :; do
  if [ ! -e /run/kubelet.stopped ] && [ -e /var/lib/kubelet/config.yaml ] && [ -e /var/lib/kubelet/kubeadm-flags.env ] &&
    { [ -e $kubernetes/kubelet.conf ] || [ -e $kubernetes/bootstrap-kubelet.conf ]; }; then
    KUBELET_KUBEADM_ARGS=
    . /var/lib/kubelet/kubeadm-flags.env
    eval "exec kubelet --bootstrap-kubeconfig=$kubernetes/bootstrap-kubelet.conf --kubeconfig=$kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml $KUBELET_KUBEADM_ARGS" >>"$folder/log/kubelet.log" 2>&1 &
    echo $! >/run/kubelet.pid
    wait $!
    echo "the kubelet ended with $?"
  fi
  sleep 1
done
