# Makes the parts of the image of odd files. Arguments: an OCI image (layout:tag) to put layers on,
# and a folder to work in. Runs as root.
#
#   layer 1  a tree with everything that a file can be
#   layer 2  a sparse file of 3 GiB, as GNU tar writes it
#   layer 3  the tree changed in place: things removed, things turned into other things
#   layer 4  an opaque folder, and a whiteout of something from layer 1
set -eu
image=$1
work=$2
umask 022
name255=$(printf 'n%.0s' $(seq 255))

# Layer 1.
tree=$work/tree
mkdir -p "$tree"
cd "$tree"
mkdir links modes names times attributes devices gone kept turned opaque opaque/deep many
echo shared > links/first
ln links/first links/second
mkdir links/far
ln links/first links/far/third
echo 5 > links/end
ln -s end links/l5
ln -s l5 links/l4
ln -s l4 links/l3
ln -s l3 links/l2
ln -s l2 links/l1
ln -s ../modes links/to-folder
ln -s /nowhere/at/all links/dangling
ln -s "/$(printf 'long/%.0s' $(seq 40))" links/long-target
ln -s "$(printf 'x%.0s' $(seq 59))" links/target-59
ln -s "$(printf 'x%.0s' $(seq 60))" links/target-60
for mode in 0000 0400 0644 0755 1777 2755 4755 6711; do
  echo "$mode" > "modes/$mode"
  mkdir "modes/folder-$mode"
  chown 1234:5678 "modes/$mode"
  chmod "$mode" "modes/$mode" "modes/folder-$mode"
done
echo big > modes/big-owner
chown 4000000000:3999999999 modes/big-owner
echo x > "names/$name255"
mkdir -p "names/d/$name255/$name255"
ln -s target "names/d/$name255/$name255/$name255"
echo x > 'names/with space'
echo x > "names/with
newline"
echo x > "$(printf 'names/not-utf8-\377\376')"
echo x > 'names/äöü-名前'
echo x > 'names/back\slash'
echo x > names/-dash
echo x > names/wh.not-a-marker
printf '' > names/empty
for year in 1970-01-02 1999-12-31 2037-12-31 2100-01-01 2200-01-01; do
  echo "$year" > "times/$year"
  touch -d "$year 03:04:05.123456789 UTC" "times/$year"
done
ln -s 2100-01-01 times/link
touch -h -d '2001-02-03 04:05:06.987654321 UTC' times/link
cp /bin/true attributes/capable
setcap cap_net_raw,cap_net_admin+ep attributes/capable
echo x > attributes/user
setfattr -n user.colour -v blue attributes/user
setfattr -n user.large -v "$(printf 'v%.0s' $(seq 2000))" attributes/user
setfattr -n trusted.hidden -v secret attributes/user
echo x > attributes/acl
setfacl -m u:1234:rw,g:5678:r attributes/acl
mkdir attributes/folder
setfattr -n user.on-a-folder -v yes attributes/folder
setfacl -d -m u:1234:rwx attributes/folder
mknod devices/null c 1 3
mknod devices/disk b 7 200
mknod devices/large c 511 1048575
mkfifo devices/pipe
chmod 0620 devices/null
echo gone > gone/below-only
mkdir gone/folder
echo gone > gone/folder/inside
echo kept > kept/below
echo file > turned/file-into-folder
mkdir turned/folder-into-file
echo inside > turned/folder-into-file/inside
ln -s nowhere turned/link-into-file
echo hidden > opaque/hidden
echo hidden > opaque/deep/hidden
ln opaque/hidden kept/also-hidden-there
ln opaque/deep/hidden turned/also-hidden-there
i=0
while [ $i -lt 1500 ]; do
  echo $i > "many/a-rather-long-name-for-one-of-many-files-$i"
  i=$((i + 1))
done
head -c 3000000 /dev/urandom > kept/noise
umoci insert --image "$image" "$tree" /odd

# Layer 2.
mkdir -p "$work/sparse/odd/sparse"
file=$work/sparse/odd/sparse/three-gib
truncate -s 3G "$file"
for at in 0 1048577 1073741824 3221225000; do
  printf 'here' | dd of="$file" bs=1 seek=$at conv=notrunc status=none
done
truncate -s 5M "$work/sparse/odd/sparse/only-a-hole"
tar --create --format=pax --sparse --numeric-owner --file "$work/sparse.tar" --directory "$work/sparse" odd/sparse
umoci raw add-layer --image "$image" "$work/sparse.tar"
rm -rf "$work/sparse" "$work/sparse.tar"

# Layer 3.
umoci unpack --image "$image" "$work/bundle"
cd "$work/bundle/rootfs/odd"
rm gone/below-only
rm -r gone/folder
rm turned/file-into-folder
mkdir turned/file-into-folder
echo now > turned/file-into-folder/inside
rm -r turned/folder-into-file
echo now > turned/folder-into-file
rm turned/link-into-file
echo now > turned/link-into-file
rm links/second
echo above > kept/above
chmod 0600 kept/below
mkdir gone/folder
echo again > gone/folder/again
setfattr -n user.colour -v red attributes/user
umoci repack --refresh-bundle --image "$image" "$work/bundle"
rm -rf "$work/bundle"

# Layer 4.
mkdir "$work/opaque"
echo new > "$work/opaque/new"
umoci insert --image "$image" --opaque "$work/opaque" /odd/opaque
umoci insert --image "$image" --whiteout /odd/many/a-rather-long-name-for-one-of-many-files-77
umoci insert --image "$image" --whiteout /odd/gone
