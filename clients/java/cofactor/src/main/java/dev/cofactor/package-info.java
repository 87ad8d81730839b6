/**
 * A thin layer over the generated stubs of {@code dev.cofactor.v1}: connecting, credentials, deadlines, outcomes and errors
 * with types, and waiting for an answer given elsewhere. Requests and responses are the generated messages.
 */
package dev.cofactor;
