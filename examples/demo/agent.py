# What an agent wrote. It runs in the sandbox, and reaches nothing but its tools.
import asyncio

from tools import dist_files, dist_list, dist_requires

names = [dist["name"] for dist in await dist_list()]
print(f"{len(names)} distributions are installed")


async def look_at(name):
    needs, files = await asyncio.gather(dist_requires(name=name), dist_files(name=name))
    return name, needs, files


needed_by = {name: [] for name in names}
largest = []
for name, needs, files in await asyncio.gather(*[look_at(name) for name in names]):
    for need in needs:
        if need in needed_by:
            needed_by[need].append(name)
    largest.extend([(file["size"], name, file["path"]) for file in files])

most_needed = max(names, key=lambda name: len(needed_by[name]))
print(f"{len(needed_by[most_needed])} of them need {most_needed}; can it be removed?")
try:
    await call_tool("dist:remove", {"name": most_needed})
except ToolError as error:
    print("no:", tool_error(error).code)


async def digest(size, name, path):
    while True:
        try:
            sha256 = await call_tool("disk:digest", {"name": name, "path": path})
            return {"distribution": name, "path": path, "bytes": size, "sha256": sha256}
        except ToolError as error:
            failure = tool_error(error)
            if failure.code != "RATE_LIMITED":
                raise
            print(f"too many digests at once: waiting {failure.retry_after:.1f} s")
            await asyncio.sleep(failure.retry_after)


top = sorted(largest, reverse=True)[:3]
{
    "most_needed": most_needed,
    "needed_by": needed_by[most_needed],
    "largest_files": await asyncio.gather(*[digest(*file) for file in top]),
}
