/**
 * Tests of applications that use Cofactor, without a telephone: a throw-away server whose clock can be moved forward, and in
 * software what users hold. Works only with {@code cofactor demo --test}.
 */
package dev.cofactor.testing;
