// SPDX-License-Identifier: Apache-2.0
// The smallest program on an installed Invar: shapes broadcast, and a failure is caught by its type.
#include <invar/error.h>
#include <invar/shape.h>

#include <iostream>

int main() {
    const invar::Shape image{2, 3, 640, 480}, scale{3, 1, 1};
    std::cout << "together: " << to_string(broadcast_shapes(image, scale)) << "\n";
    try {
        broadcast_shapes(image, invar::Shape{7});
    } catch (const invar::InvalidArgument& e) {
        std::cout << "refused: " << e.what() << "\n";
        return 0;
    }
    return 1;
}
