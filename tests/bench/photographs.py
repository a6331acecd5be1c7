"""What the benches with photographs share."""
import tarfile

from resnet20_cifar import bitfall


def pack_photographs(shared, work, ranks):
    """The 1,000 photographs as WORK/imagenet-*.tar, if they are not there yet."""
    if list(work.glob("imagenet-*.tar")):
        return
    with tarfile.open(shared / "data/imagenet/images.tar") as archive:
        archive.extractall(work)
    bitfall("pack", work / "imagenet-1000", "-o", work / "imagenet", "--shard-images", 250, ranks=ranks)


def print_rows(names, measure, template):
    """Measures each network, (good, row) = measure(name), and prints its row. Whether all went well."""
    well = True
    for name in names:
        try:
            good, row = measure(name)
        except SystemExit as error:
            well = False
            print(f"| {name} | FAILED: {str(error).strip().splitlines()[-1]} |", flush=True)
            continue
        well &= good
        print(template.format(**row) + ("" if good else " MISSED"), flush=True)
    return well
