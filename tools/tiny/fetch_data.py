#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the training text of models/tiny from Debian documentation packages.

Downloads the packages of packages.txt with `apt-get download` (Debian 12 sources, component main),
unpacks them, extracts clean English text and writes

    OUT/train.jsonl, OUT/heldout.jsonl    one document a line: {"package", "path", "text"}
    OUT/stats.tsv                         documents and bytes of text for each package

Whether a document is held out depends only on its length and a hash of its package and path. A paragraph is
kept once in the whole collection, so no held-out text is also in the training text (headings may be).
"""
import argparse
import gc
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import sys

import text_extract

HELD_OUT_PER_MILLE = 12
HELD_OUT_MAX_CHARS = 50_000  # a single huge document must not make up much of the held-out text


def read_package_list(path):
    """[(name, version)] of packages.txt: tab-separated columns name, version, licence."""
    rows = []
    for line in pathlib.Path(path).read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            columns = line.split("\t")
            rows.append((columns[0], columns[1] if len(columns) > 1 else ""))
    return rows


def download(name, version, folder):
    """The .deb of name=version below `folder`; any other version only if that one is gone."""
    have = sorted(folder.glob(f"{name}_*.deb"))
    if have:
        return have[-1]
    for target in ([f"{name}={version}"] if version else []) + [name]:
        done = subprocess.run(["apt-get", "-qq", "download", target], cwd=folder,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        have = sorted(folder.glob(f"{name}_*.deb"))
        if have:
            if target == name and version:
                print(f"note: {name} {version} is no longer on the mirror, took {have[-1].name} "
                      "(snapshot.debian.org keeps the old one)", file=sys.stderr)
            return have[-1]
    print(f"warning: cannot download {name}: {done.stderr.strip()[-200:]}", file=sys.stderr)
    return None


def extract_package(job):
    """Blocks of every wanted file of one package, files in the order of a hash of their path."""
    name, deb, work = job
    root = pathlib.Path(work) / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True)
    files = []
    for folder, _, names in os.walk(root):
        for file_name in names:
            full = os.path.join(folder, file_name)
            if os.path.islink(full):
                continue
            inner = os.path.relpath(full, root)
            plain = inner[:-3] if inner.endswith(".gz") else inner
            flavour = text_extract.flavour_of("/" + plain)
            if flavour:
                digest = hashlib.sha256(f"{name}/{inner}".encode()).hexdigest()
                files.append((digest, full, inner, "/" + plain))
    documents = []
    total = 0
    for digest, full, inner, plain in sorted(files):
        # Blocks hold more than what is kept in the end; four times the cap is enough to fill it.
        if total > 4 * extract_package.cap:
            break
        blocks = text_extract.blocks_from_file(full, plain)
        total += sum(len(text) for _, text in blocks)
        if blocks:
            documents.append((digest, inner, blocks))
    shutil.rmtree(root, ignore_errors=True)
    return name, documents


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", default=here / "packages.txt")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("tiny-work"),
                        help="the packages are downloaded to this folder and unpacked there")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tiny-data"))
    parser.add_argument("--cap-mb", type=float, default=6.0, help="at most so much text from one package")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    args = parser.parse_args()
    cap = int(args.cap_mb * 1e6)
    extract_package.cap = cap

    debs = args.work / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = []
    for name, version in read_package_list(args.packages):
        deb = download(name, version, debs)
        if deb:
            jobs.append((name, deb.resolve(), str(args.work / "unpacked")))

    assembler = text_extract.Assembler()
    stats = []
    gc.disable()  # nothing cyclic is kept, and the block lists are large
    with open(args.out / "train.jsonl", "w") as train, open(args.out / "heldout.jsonl", "w") as held_out, \
            multiprocessing.get_context("fork").Pool(args.jobs, maxtasksperchild=1) as pool:
        for name, documents in pool.imap(extract_package, jobs, chunksize=1):
            count = size = 0
            for digest, path, blocks in documents:
                if size >= cap:
                    break
                text = assembler.document(blocks)
                if text is None:
                    continue
                chosen = int(digest[:8], 16) % 1000 < HELD_OUT_PER_MILLE and len(text) <= HELD_OUT_MAX_CHARS
                target = held_out if chosen else train
                row = {"package": name, "path": path, "text": text}
                target.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
                size += len(text.encode())
            stats.append((name, count, size))
            print(f"{name}: {count} documents, {size / 1e6:.2f} MB", flush=True)
    (args.out / "stats.tsv").write_text("".join(f"{n}\t{c}\t{s}\n" for n, c, s in stats))
    print(f"total {sum(s for _, _, s in stats) / 1e6:.1f} MB in {sum(c for _, c, _ in stats)} documents; "
          f"{assembler.repeated} repeated paragraphs dropped")


if __name__ == "__main__":
    main()
