// SPDX-License-Identifier: Apache-2.0
// Blocks (closures with the layout that clang gives them): copied from the stack to the heap, counted there. Layout and flags are
// those of "Block Implementation Specification" in clang's documentation.
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "metalsim/objc/runtime.h"

namespace metalsim {

struct Descriptor {
    unsigned long reserved, size;
    void (*copy)(void* to, const void* from);  // these two only with kHasHelpers
    void (*dispose)(const void* block);
};

namespace {

constexpr int kHasHelpers = 1 << 25, kIsGlobal = 1 << 28, kOnHeap = 1 << 24;
constexpr int kByref = 8;  // the field is a __block variable

// A variable marked __block, shared by the stack frame and the copies of a block.
struct Shared {
    void* isa;
    Shared* forwarding;
    int flags, size;
    void (*keep)(Shared* to, Shared* from);  // these two only with kHasHelpers
    void (*destroy)(Shared* variable);
};
// Before a copy on the heap: how many hold it. 16 bytes, so that what follows stays aligned.
struct alignas(16) Held {
    std::atomic<long> count{1};
};
Held* held(void* object) { return reinterpret_cast<Held*>(static_cast<char*>(object) - sizeof(Held)); }
void* on_heap(const void* object, std::size_t bytes) {
    char* const memory = static_cast<char*>(std::malloc(sizeof(Held) + bytes));
    new (memory) Held;
    std::memcpy(memory + sizeof(Held), object, bytes);
    return memory + sizeof(Held);
}

}  // namespace

extern "C" {
METALSIM_EXPORT void* _NSConcreteStackBlock[32];
METALSIM_EXPORT void* _NSConcreteGlobalBlock[32];
METALSIM_EXPORT void* _NSConcreteMallocBlock[32];

METALSIM_EXPORT void* _Block_copy(const void* block) {
    auto* const from = static_cast<Block*>(const_cast<void*>(block));
    if (from == nullptr || (from->flags & kIsGlobal) != 0) return from;
    if ((from->flags & kOnHeap) != 0) {
        held(from)->count.fetch_add(1);
        return from;
    }
    auto* const to = static_cast<Block*>(on_heap(from, from->descriptor->size));
    to->isa = static_cast<void*>(_NSConcreteMallocBlock);
    to->flags |= kOnHeap;
    if ((to->flags & kHasHelpers) != 0) to->descriptor->copy(to, from);
    return to;
}

METALSIM_EXPORT void _Block_release(const void* block) {
    auto* const own = static_cast<Block*>(const_cast<void*>(block));
    if (own == nullptr || (own->flags & kOnHeap) == 0 || held(own)->count.fetch_sub(1) != 1) return;
    if ((own->flags & kHasHelpers) != 0) own->descriptor->dispose(own);
    std::free(held(own));
}

METALSIM_EXPORT void _Block_object_assign(void* to, const void* from, int kind) {
    if ((kind & kByref) == 0) {  // another block or an object
        *static_cast<const void**>(to) = from;
        return;
    }
    Shared* variable = static_cast<Shared*>(const_cast<void*>(from))->forwarding;
    if ((variable->flags & kOnHeap) != 0) {
        held(variable)->count.fetch_add(1);
    } else {
        auto* const moved = static_cast<Shared*>(on_heap(variable, static_cast<std::size_t>(variable->size)));
        moved->flags |= kOnHeap;
        moved->forwarding = variable->forwarding = moved;
        held(moved)->count = 2;  // the stack frame's too; it disposes of it where its scope ends
        if ((moved->flags & kHasHelpers) != 0) moved->keep(moved, variable);
        variable = moved;
    }
    *static_cast<void**>(to) = variable;
}

METALSIM_EXPORT void _Block_object_dispose(const void* object, int kind) {
    if ((kind & kByref) == 0) return;
    Shared* const variable = static_cast<Shared*>(const_cast<void*>(object))->forwarding;
    if ((variable->flags & kOnHeap) == 0 || held(variable)->count.fetch_sub(1) != 1) return;
    if ((variable->flags & kHasHelpers) != 0) variable->destroy(variable);
    std::free(held(variable));
}
}

BlockRef::BlockRef(const void* block) : block_(_Block_copy(block)) {}
BlockRef::~BlockRef() { _Block_release(block_); }

}  // namespace metalsim
